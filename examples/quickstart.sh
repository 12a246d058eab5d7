#!/usr/bin/env bash
# Weft's main job on real text, from nothing: installs what a bare Debian 12 lacks, builds the library and the command,
# makes a Python environment under build/, and runs examples/quickstart/quickstart.py with `weft serve` as a real daemon.
#
#   examples/quickstart.sh            what is done and seen, for people
#   examples/quickstart.sh --json     the result for programs on standard output, everything else on standard error
#
# Arguments go to quickstart.py. WEFT_BUILD=DIR takes the library and command already built there instead of building.
# Can be run again at any time; the second run starts at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { echo "quickstart: $* ($SECONDS s)" >&2; }

cmake/packages.sh
mkdir -p build
build=${WEFT_BUILD:-$PWD/build/quickstart}
if [ -z "${WEFT_BUILD:-}" ]; then
    step "building the library and the command in ${build#"$PWD/"}; a few minutes the first time"
    cmake --preset release -B "$build" -DWEFT_TESTS=OFF >"$build.log" 2>&1 || { tail -n 40 "$build.log" >&2; exit 1; }
    ninja -C "$build" weft weft_command >&2
fi

# Made anew only when the library or the package has changed since. Its own folder, so that nothing else is touched.
venv=$PWD/build/quickstart-venv
mark=$venv/installed
if [ "$(cat "$mark" 2>/dev/null)" != "$build" ] || [ -n "$(find -L "$build/libweft.so.1" sdk-python -newer "$mark" -type f -print -quit)" ]; then
    step "installing numpy and the Python package weft-kv in build/quickstart-venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    echo "$build" >"$venv/begun"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy
    WEFT_LIB_DIR=$build "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall \
        --no-deps ./sdk-python
    mv "$venv/begun" "$mark" # as old as the beginning of the installation
fi

step "running"
exec "$venv/bin/python" examples/quickstart/quickstart.py --weft "$build/weft" "$@"
