#!/usr/bin/env bash
# Plays the conformance list in every language:
#   tests/conformance/run.sh                 a line of counts per language, then the self test: one expectation of each
#                                            scenario is turned into its contrary, and every language must fail there
#   tests/conformance/run.sh --json          the lines as JSON: {"language", "passed", "failed"}
#   tests/conformance/run.sh --flip all      only the self test, with every expectation of every scenario (long)
#   tests/conformance/run.sh --only NAME [--opening embedded|node|client] [--language LANGUAGE]
# WEFT_BUILD is the build to test, WEFT_PYTHON a Python that has the package weft. The status is 0 only if nothing failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
build=${WEFT_BUILD:-$PWD/../../build/release}
python=${WEFT_PYTHON:-$PWD/../../build/venv/bin/python}
players=("c=$build/tests/conformance/conformance_c" "cpp=$build/tests/conformance/conformance_cpp")
if grep -q '^WEFT_SANITIZE:STRING=.' "$build/CMakeCache.txt" 2>/dev/null; then
    echo "python, rust, go: left out, a sanitized library cannot be loaded into them" >&2
else
    players+=("python=$python $PWD/player.py")
    rust=$PWD/../../build/rust
    (eval "$(../prefix.sh)" && CARGO_TARGET_DIR=$rust cargo build -q --release --manifest-path player-rust/Cargo.toml)
    players+=("rust=env LD_LIBRARY_PATH=$build $rust/release/conformance-rust")
    go=$build/tests/conformance/conformance_go
    (eval "$(../prefix.sh)" && "$(../../cmake/go.sh)" build -C player-go -buildvcs=false -o "$go")
    players+=("go=env LD_LIBRARY_PATH=$build $go")
fi

arguments=()
chosen=
while [ $# -gt 0 ]; do
    case $1 in
        --language) chosen=$2; shift 2 ;;
        *) arguments+=("$1"); shift ;;
    esac
done
if [ -n "$chosen" ]; then
    for player in "${players[@]}"; do [ "${player%%=*}" != "$chosen" ] || players=("$player"); done
fi

status=0
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
python3 drive.py "${arguments[@]}" "${players[@]}" | tee -a "$counts" || status=1
if [ ${#arguments[@]} = 0 ]; then
    python3 drive.py --flip first "${players[@]}" | tee -a "$counts" || status=1
fi
if [[ " ${arguments[*]} " != *" --json "* ]]; then
    awk '{ p += $2; f += $4 } END { printf "%d passed, %d failed\n", p, f }' "$counts"
fi
exit $status
