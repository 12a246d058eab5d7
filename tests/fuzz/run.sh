#!/usr/bin/env bash
# The fuzzers: tests/fuzz/run.sh [--seconds N] [--runs N] [--seed N] [--only NAME] [--merge]
# Each NAME_fuzz first replays corpus/NAME, then looks for more for N seconds (30), or for N inputs in all; two at a time. A line
# for each, with the inputs a second, then `N passed, N failed`. What fails is kept in build/fuzz and repeated by naming it:
# NAME_fuzz FILE.
# --seed: 1 where none is said, so that a run in CI tries what the last one tried; 0 is another one each time.
# --merge: the corpus becomes as few as reach what it and all that was found reach together.
# WEFT_BUILD is the build to test: build/asan where it is unset; build/fuzz-fast, of the preset of that name, is without the address sanitizer: it
# tries several times as many inputs, and what it found is tried again under both sanitizers by the next run of the other.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
build=${WEFT_BUILD:-build/asan}
seconds=30
runs=
seed=1
only=
merge=no
while [ $# -gt 0 ]; do
    case "$1" in
        --seconds) seconds=$2; shift ;;
        --runs) runs=$2; shift ;;
        --seed) seed=$2; shift ;;
        --only) only=$2; shift ;;
        --merge) merge=yes ;;
        *) echo "tests/fuzz/run.sh: unknown argument '$1'" >&2; exit 2 ;;
    esac
    shift
done
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
results=$(mktemp -d "${TMPDIR:-/tmp}/fuzz.XXXXXX")
trap 'rm -rf "$results"' EXIT

fuzz() { # NAME LONGEST_INPUT: prints its line, and leaves the file NAME where it passed, NAME.failed where not
    local name=$1 program=$build/tests/fuzz/${1}_fuzz found=build/fuzz/$1 corpus=tests/fuzz/corpus/$1
    local log=build/fuzz/$1.log limit=(-max_total_time="$seconds")
    [ -n "$only" ] && [ "$only" != "$name" ] && return
    mkdir -p "$found" "$corpus"
    [ -z "$runs" ] || limit=(-runs="$runs")
    if [ $merge = yes ]; then
        local less=build/fuzz/$name.merged
        rm -rf "$less"
        mkdir -p "$less"
        "$program" -set_cover_merge=1 -max_len="$2" -timeout=60 "$less" "$corpus" "$found" >"$log" 2>&1 || { tail -n 20 "$log"; touch "$results/$name.failed"; return; }
        rm -rf "$corpus"
        mv "$less" "$corpus"
        echo "$name: $(find "$corpus" -type f | wc -l) inputs, $(du -sb "$corpus" | cut -f 1) bytes"
        touch "$results/$name"
        return
    fi
    # New inputs go to the first folder. An input that takes 20 s, or 2 GB, is a failure.
    if "$program" -seed="$seed" -max_len="$2" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" \
        "${limit[@]}" "$found" "$corpus" >"$log" 2>&1; then
        touch "$results/$name"
        awk -v name="$name" '/number_of_executed_units/ { n = $2 } /average_exec_per_sec/ { r = $2 }
            / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") c = $(i + 1) }
            END { print name ": " n " inputs, " r " a second, " c " places reached" }' "$log"
    else
        touch "$results/$name.failed"
        tail -n 40 "$log"
        echo "$name: failed; its log is $log"
    fi
}

fuzz text 1024 & fuzz json 4096 & wait
fuzz node 2048 & fuzz abi 1024 & wait
fuzz socket 8192
failed=$(find "$results" -name '*.failed' | wc -l)
passed=$(($(find "$results" -type f | wc -l) - failed))
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed != 0 ]
