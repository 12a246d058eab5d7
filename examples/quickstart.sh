#!/usr/bin/env bash
# Weft's main job on real text, from nothing: installs what a bare Debian 12 lacks, builds the library and the command,
# makes a Python environment, the runtime in Rust and the gateway in Go under build/, and runs
# examples/quickstart/quickstart.py with `weft serve` as a real daemon.
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

# What cargo there is, else the one that Debian 12 keeps new for its browsers.
rust=1.85
if ! command -v cargo >/dev/null; then
    step "installing cargo"
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    apt() {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 "$@" </dev/null
    }
    if ! { apt update && apt install --no-install-recommends cargo-web; } >build/quickstart-cargo.log 2>&1; then
        tail -n 20 build/quickstart-cargo.log >&2
        echo "quickstart: found no cargo and apt-get installed none: install Rust $rust or newer" >&2
        exit 1
    fi
fi
has=$(cargo --version | cut -d' ' -f2)
if [ "$(printf '%s\n' "$rust" "$has" | sort -V | head -n 1)" != "$rust" ]; then
    echo "quickstart: cargo is $has: install Rust $rust or newer (Debian 12: apt install cargo-web)" >&2
    exit 1
fi
# Other languages find Weft as their users do: installed, by pkg-config and the loader.
prefix=$PWD/build/quickstart-prefix
cmake --install "$build" --prefix "$prefix" >build/quickstart-prefix.log 2>&1 || { cat build/quickstart-prefix.log >&2; exit 1; }
library=$(dirname "$(find "$prefix" -name libweft.so.1 -print -quit)")
export PKG_CONFIG_PATH=$library/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

step "building the runtime in Rust in build/quickstart-runtime"
cargo build --quiet --release --locked --manifest-path examples/runtime-rust/Cargo.toml \
    --target-dir build/quickstart-runtime >&2

step "building the gateway in Go in build/quickstart-gateway"
"$(cmake/go.sh)" build -C examples/gateway -o "$PWD/build/quickstart-gateway" . >&2

step "running"
exec "$venv/bin/python" examples/quickstart/quickstart.py --weft "$build/weft" \
    --runtime build/quickstart-runtime/release/quickstart-runtime --gateway build/quickstart-gateway "$@"
