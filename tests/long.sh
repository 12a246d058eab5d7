#!/usr/bin/env bash
# What takes hours, for nights and before a release:
#   tests/long.sh [HOURS]     4 where none is said
# First all of tests/run.sh, then clang-tidy, whether all of it parses for aarch64, and the service under a real systemd. Then
# each rule of the protocols is dropped once, which its tests must notice; the gateway's readers and every reader of
# the node are fuzzed, hostile clients do what they can for minutes; every expectation
# of the conformance list is turned into its contrary, which each language must notice; the whole benchmark runs, and the one
# against the peers briefly; and until the time is over real processes are killed and stopped under load, in the release, the
# asan and the tsan build by turns. The first that fails ends the run with status 1 and its log.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
hours=${1:-4}
[[ $hours =~ ^[0-9]+$ ]] || { echo "tests/long.sh: '$hours' is not a number of hours" >&2; exit 2; }
end=$((SECONDS + hours * 3600))

logs=$PWD/build/logs
mkdir -p "$logs"
TMPDIR=$(mktemp -d /tmp/weft.XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

run() { # NAME COMMAND...
    local name=$1 since=$SECONDS
    shift
    if ! "$@" >"$logs/long-$name.log" 2>&1 </dev/null; then
        tail -n 100 "$logs/long-$name.log"
        echo "$name: failed after $((SECONDS - since)) s; its log is build/logs/long-$name.log"
        exit 1
    fi
    echo "$name: $(tail -n 1 "$logs/long-$name.log")  ($((SECONDS - since)) s)"
}

tests/run.sh --engines || exit 1
export PATH=$PWD/build/venv/bin:$PATH
run lint tests/tidy/lint.sh
run aarch64 tests/tidy/aarch64.sh
run service tests/packaging/service.sh
run planted python3 tests/planted/run.py
run sim-writers build/release/tests/sim/weft_sim --writers-deep
run seeds-planted tests/sim/run --planted
run gateway-fuzz env WEFT_FUZZ=200000 tests/gateway/run.sh
run fuzz env WEFT_BUILD="$PWD/build/asan" tests/fuzz/run.sh --seconds 600 --seed 0
run hostile tests/hostile/run.sh --seconds 120
run flip-all tests/conformance/run.sh --flip all
run bench tests/bench/run.sh
run peers tests/bench/peers/run.sh --quick
round=0
while [ $SECONDS -lt $end ]; do
    round=$((round + 1))
    for preset in release asan tsan; do
        run "process-$preset-$round" env WEFT_BUILD="$PWD/build/$preset" tests/process/run.sh
        run "unit-$preset-$round" "build/$preset/tests/unit/weft_unit"
    done
done
echo "$round rounds passed"
