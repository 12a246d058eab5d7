#!/usr/bin/env bash
# Installs what is needed, builds, and runs every suite:
#   tests/run.sh             everything: about half an hour on two cores from a bare machine
#   tests/run.sh --quick     for work: the release build only; no sanitizers, no quickstart, no benchmark
#   tests/run.sh --engines   the connectors against real engines too: installs vLLM (some 6 GB), and takes a quarter of an hour more
#   tests/run.sh NAME...     only the suites of these names (see the lines it prints)
# One line of counts for each suite, the log of each that failed, and at last `N passed, N failed` over all of them alone in
# its line; the status is 0 only where nothing failed. Logs stay in build/logs.
#
# A suite is a command with a time limit (three to ten times what it takes). Its counts are read from the last line of its
# log that has some; a command that fails, is too late or says no counts is itself one failure, so that nothing is green by
# silence. What a suite leaves out on this machine it says in lines `left out: WHAT: WHY`, which are counted as neither.
# tests/README.md says what a suite is given and how one is added.
set -uo pipefail
shopt -s extglob
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

quick=no
engines=no
chosen=()
for argument in "$@"; do
    case "$argument" in
        --quick) quick=yes ;;
        --engines) engines=yes ;;
        -h | --help) sed -n '2,13s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        -*) echo "tests/run.sh: unknown argument '$argument'; there are --quick, --engines, and names of suites" >&2; exit 2 ;;
        *) chosen+=("$argument") ;;
    esac
done

logs=$PWD/build/logs
mkdir -p "$logs"
TMPDIR=$(mktemp -d /tmp/weft.XXXXXX) # short: UNIX sockets lie in it
export TMPDIR
chmod 711 "$TMPDIR" # tests/hostile has other users' programs in it
ticker=
child=
trap 'kill $ticker $child 2>/dev/null; rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT TERM
passed=0
failed=0
left_out=0

# Says every minute that NAME still runs: long silences look like hangs.
tick() {
    local name=$1 since=$SECONDS
    while sleep 60; do echo "  ($name: $((SECONDS - since)) s)"; done
}

# The last counts in a log, as `passed failed`: of our own suites, doctest, ctest or pytest.
counts() {
    awk '
        /(^|: )[0-9]+ passed, [0-9]+ failed$/ { f = $(NF - 1); p = $(NF - 3) }
        /^\[doctest\] test cases:/ { p = $6; f = $9 }
        /% tests passed, [0-9]+ tests failed out of [0-9]+/ { f = $4; p = $NF - $4 }
        /^=* ?([0-9]+ [a-z]+, )*[0-9]+ (passed|failed|errors?)(, [0-9]+ [a-z]+)* in [0-9.]+s/ {
            p = 0; f = 0
            for (i = 1; i < NF; i++) {
                if ($(i + 1) ~ /^passed/) p = $i
                if ($(i + 1) ~ /^(failed|errors?)/) f += $i
            }
        }
        END { print p + 0, f + 0 }' "$1"
}

# How many tests a log names that this machine or this user left out.
left_out_of() { grep -cE '(^|MESSAGE: )left out: ' "$1"; }

# run NAME SECONDS COMMAND...: 0 where the command ended well and in time; its output is in logs/NAME.log.
run() {
    local name=$1 limit=$2 status
    shift 2
    tick "$name" &
    ticker=$!
    timeout -k 20 "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null &
    child=$! # waited for, not run in front, so that an interrupt ends it at once
    wait "$child"
    status=$?
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null
    ticker=
    child=
    [ $status != 124 ] && [ $status != 137 ] || echo "$name: not done after $limit s" >>"$logs/$name.log"
    return $status
}

show() {
    echo "----- the end of build/logs/$1.log"
    tail -n 60 "$logs/$1.log"
    echo "-----"
}

wanted() { # PATTERN: whether a suite of such a name is to run
    [ ${#chosen[@]} = 0 ] && return 0
    local name
    for name in "${chosen[@]}"; do [[ $name == $1 ]] && return 0; done
    return 1
}

suite() {
    wanted "$1" || return 0
    local name=$1 since=$SECONDS status p f l
    run "$@"
    status=$?
    read -r p f < <(counts "$logs/$name.log")
    l=$(left_out_of "$logs/$name.log")
    if [ $status != 0 ] && [ "$f" = 0 ] || [ $((p + f + l)) = 0 ]; then f=$((f + 1)); fi
    echo "$name: $p passed, $f failed$([ "$l" = 0 ] || echo ", $l left out")  ($((SECONDS - since)) s)"
    [ "$f" = 0 ] || show "$name"
    passed=$((passed + p))
    failed=$((failed + f))
    left_out=$((left_out + l))
}

# A step that the suites after it need: on failure the run ends there.
step() {
    local name=$1 since=$SECONDS
    if run "$@"; then
        echo "$name: done  ($((SECONDS - since)) s)"
    else
        echo "$name: failed  ($((SECONDS - since)) s)"
        show "$name"
        echo "$passed passed, $((failed + 1)) failed"
        exit 1
    fi
}

build() { # PRESET [TARGET...]
    cmake --preset "$1" && ninja -C "build/$1" -j "$(nproc)" -k 0 "${@:2}"
}

# The tools and the packages that Python tests use, and where they find them.
make_venv() {
    [ -x build/venv/bin/python ] || python3 -m venv build/venv || return 1
    build/venv/bin/pip install --quiet --no-compile --disable-pip-version-check -r tests/requirements.txt
}

in_ctest() { # FOLDER: the programs that it registered in this build
    ctest --test-dir "$WEFT_BUILD/$1" --output-on-failure --no-tests=error --timeout 600 -j "$(nproc)"
}

# A command without counts of its own is one test.
once() {
    "$@" && echo "1 passed, 0 failed"
}

python_package() {
    build/venv/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps ./sdk-python &&
        mypy --strict --config-file sdk-python/pyproject.toml sdk-python/src/weft && pytest -q sdk-python/tests
}

export -f build make_venv in_ctest once python_package
call=(bash -c '"$@"' call) # timeout runs programs, not functions

step packages 900 cmake/packages.sh --tests
step venv 600 "${call[@]}" make_venv
export PATH=$PWD/build/venv/bin:$PATH
suite tidy 300 tests/tidy/run.sh

wanted "!(tidy|fuzz|*-asan|*-tsan)" && step build-release 3600 "${call[@]}" build release
export WEFT_BUILD=$PWD/build/release
suite unit 300 "$WEFT_BUILD/tests/unit/weft_unit"
suite planted 60 python3 tests/planted/run.py --check
suite models 600 tests/models/run.sh
suite sim 1500 "${call[@]}" in_ctest tests/sim
suite seeds 900 tests/sim/run --seeds 2000 --first commit
suite seeds-planted 60 tests/sim/run --check
suite abi 300 tests/abi/run.sh
suite python 1200 "${call[@]}" python_package
suite conformance 1500 tests/conformance/run.sh
suite command 600 tests/command/run.sh
suite process 900 tests/process/run.sh
suite torture 600 tests/process/torture/run.sh --seconds 120
suite reconnect 300 tests/reconnect/run.sh
suite faults 400 "$WEFT_BUILD/tests/faults/weft_faults"
suite hostile 300 tests/hostile/run.sh
suite examples 600 "${call[@]}" in_ctest examples
suite go 900 tests/go/run.sh
suite rust 1200 tests/rust/run.sh
suite gateway 900 tests/gateway/run.sh
suite readme 600 tests/readme/run.sh
suite packaging 900 tests/packaging/run.sh

[ $engines = no ] && [[ " ${chosen[*]} " != *" engines "* ]] || suite engines 3600 tests/engines/run.sh
# For hours, and by its name: tests/long.sh.
[ ${#chosen[@]} = 0 ] || suite lint 1800 tests/tidy/lint.sh

if [ $quick = no ]; then
    suite quickstart 1500 "${call[@]}" once examples/quickstart.sh
    suite bench 900 "${call[@]}" once tests/bench/run.sh --quick

    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
    export UBSAN_OPTIONS=print_stacktrace=1
    export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/tests/tsan.supp
    programs=(weft_command weft_unit conformance_c conformance_cpp process_worker)
    wanted "@(*-asan|fuzz)" && step build-asan 3600 "${call[@]}" build asan "${programs[@]}" fuzzers examples/all
    export WEFT_BUILD=$PWD/build/asan
    suite unit-asan 600 "$WEFT_BUILD/tests/unit/weft_unit"
    suite conformance-asan 1800 tests/conformance/run.sh
    suite process-asan 1200 tests/process/run.sh
    suite fuzz 600 tests/fuzz/run.sh
    suite examples-asan 900 "${call[@]}" in_ctest examples

    wanted "*-tsan" && step build-tsan 3600 "${call[@]}" build tsan "${programs[@]}"
    export WEFT_BUILD=$PWD/build/tsan
    suite unit-tsan 900 "$WEFT_BUILD/tests/unit/weft_unit"
    suite conformance-tsan 1800 tests/conformance/run.sh
    suite process-tsan 1800 tests/process/run.sh
fi

[ "$left_out" = 0 ] || echo "left out: $left_out; grep 'left out' build/logs/*.log says what and why"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
