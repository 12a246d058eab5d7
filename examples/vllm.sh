#!/usr/bin/env bash
# vLLM on Weft, from nothing: installs what a bare Debian 12 lacks, builds the library and the command, installs vLLM for the
# CPU, and runs real engines with WeftConnector on one node: are their answers and their KV bytes those of vLLM alone, also
# when an engine or the node is killed; how much sooner the first token comes behind a shared prefix; what it costs.
#
#   examples/vllm.sh                   a table
#   examples/vllm.sh --json            one line a figure: {"name", "value", "unit", "reference", "ratio", "target", "met"}
#   examples/vllm.sh --only answers    one part: answers, variants, serving or cost
#
# WEFT_BUILD=DIR takes the library and the command built there. No model is downloaded: the example makes its own, of random
# weights from a seed. About fifteen minutes on two cores, and more the first time. Status 0 only where all targets are met.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${WEFT_BUILD:-$PWD/build/vllm}
mkdir -p build
if [ -z "${WEFT_BUILD:-}" ]; then
    cmake/packages.sh
    echo "vllm.sh: building the library and the command in ${build#"$PWD/"}; a few minutes the first time" >&2
    cmake --preset release -B "$build" -DWEFT_TESTS=OFF >"$build.log" 2>&1 || { tail -n 40 "$build.log" >&2; exit 1; }
    ninja -C "$build" weft weft_command >&2
fi
venv=$(examples/vllm/install.sh "$build")
exec "$venv/bin/python" examples/vllm/vllm_on_weft.py --weft "$build/weft" "$@"
