#!/usr/bin/env bash
# The protocols on paper: each model here is explored wholly, and again with each of its rules dropped, which must be found:
#   tests/models/run.sh            all of them, some 50 s on a core
#   tests/models/run.sh MODEL...   only these (view.pml)
#   tests/models/run.sh --trail MODEL [DROP_...]   one of them, with the steps that lead to what it finds
# A model says in its opening what it claims, of which code, and within which bounds. A rule that it can drop is a macro,
# DROP_ and the name of the bug that is planted for it in the source (tests/sim, tests/planted): so what the tests find in the
# code, paper finds in the protocol. spin explores; cmake/packages.sh --tests installs it.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
command -v spin >/dev/null || { echo "models: spin is not installed: cmake/packages.sh --tests"; echo "0 passed, 1 failed"; exit 1; }
compiler=$(command -v clang-19 || command -v cc)
work=$(mktemp -d "${TMPDIR:-/tmp}/models.XXXXXX")
trap 'rm -rf "$work"' EXIT

build() { # FOLDER MODEL [DROP]: pan in FOLDER
    mkdir -p "$1" && cd "$1" || return 1
    # The whole model takes longer, and is compiled to run fast. What is dropped is found in 2 s at most where the actors that begin
    # first are tried first (REVERSE); the other way round one of them took 7 minutes.
    local how=(-O1)
    [ -z "${3:-}" ] || how=(-O0 -DREVERSE)
    spin -a ${3:+"-D$3"} "$here/$2" >spin.log 2>&1 && "$compiler" "${how[@]}" -w -DSAFETY -DCOLLAPSE -o pan pan.c >>spin.log 2>&1
}

# One line: `ok` or `FAILED`, the model, what was dropped of it, and what spin found.
try() { # MODEL [DROP]
    local folder=$work/$1.${2:-whole} found
    if ! build "$folder" "$@"; then
        echo "FAILED $1 ${2:-}: $(head -n 3 "$folder/spin.log" | tr '\n' ' ')"
        return
    fi
    ./pan -m100000 -w22 -n >out 2>&1
    found=$(grep -E '^pan:1: (assertion violated|invalid end state)' out || grep -E '^(error|pan|Error)' out | head -n 1)
    if [ -z "${2:-}" ]; then
        grep -q 'errors: 0$' out && ! grep -qE 'not completed|max search depth' out &&
            echo "ok $1: holds in all of $(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' out) states" && return
        echo "FAILED $1: $found"
    elif grep -q '^pan:1: assertion violated' out; then
        echo "ok $1 without ${2#DROP_}: ${found#pan:1: }"
    else
        echo "FAILED $1: nothing is found without ${2#DROP_} ($found)"
    fi
}

dropped() { grep -oE 'DROP_\w+' "$here/$1" | grep -vx DROP_ | sort -u; }

# The planted bugs that there are, as macros.
planted() {
    {
        python3 "$root/tests/sim/planted.py" --list | cut -d' ' -f1
        find "$root/tests/sim/planted" -name "*.patch" -printf "%f\n" 2>/dev/null | sed "s/\.patch$//"
        python3 -c 'import rules; print("\n".join(rule.words for rule in rules.RULES))'
    } | sed 's/[^A-Za-z0-9]\+/_/g; s/^/DROP_/'
}

if [ "${1:-}" = --trail ]; then
    build "$work/trail" "$2" "${3:-}" || { cat "$work/trail/spin.log"; exit 1; }
    ./pan -m100000 -n
    cp "$here"/*.pml .
    [ ! -f "$2.trail" ] || spin ${3:+"-D$3"} -t -p "$2" # a shorter one: pan -i
    exit
fi

models=("$@")
[ $# -gt 0 ] || models=(view.pml bucket.pml attempt.pml advance.pml)
export here work compiler
export -f build try
known=$(cd "$root/tests/planted" && planted)
{
    for model in "${models[@]}"; do
        echo "$model"
        dropped "$model" | sed "s/^/$model /"
    done
} | xargs -P "$(nproc)" -L 1 bash -c 'try "$@"' try | tee "$work/lines"
for model in "${models[@]}"; do
    for drop in $(dropped "$model"); do
        grep -qx "$drop" <<<"$known" || echo "FAILED $model: no bug called ${drop#DROP_} is planted in tests/sim or tests/planted"
    done
done | tee -a "$work/lines"
passed=$(grep -c '^ok' "$work/lines")
failed=$(grep -c '^FAILED' "$work/lines")
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
