# Sourced by the suites that are scripts: counts what they check.
#   work, passed, failed      a folder that goes at the end; the counts so far
#   check WORDS COMMAND...    one test: the command ends well. What it said is shown only where it did not.
#   counted NAME FILE STATUS  adds the tests whose results a `go test -v` or `cargo test` wrote into the file
work=$(mktemp -d "${TMPDIR:-/tmp}/checks.XXXXXX")
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

result() { # WORDS STATUS
    if [ "$2" = 0 ]; then
        passed=$((passed + 1))
        echo "ok: $1"
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
        tail -n 60 "$work/log"
    fi
}

check() {
    local status=0
    "${@:2}" >"$work/log" 2>&1 || status=$?
    result "$1" $status
}

counted() {
    local p f
    p=$(grep -c -e '^--- PASS' -e '^test .* ok$' "$2" || true)
    f=$(grep -c -e '^--- FAIL' -e '^test .* FAILED$' "$2" || true)
    # A failure without a failed test, and no tests at all, are one failure.
    [ "$f" != 0 ] || { [ "$3" = 0 ] && [ "$p" != 0 ]; } || f=1
    [ "$f" = 0 ] || tail -n 200 "$2"
    echo "$1: $p tests passed, $f failed"
    passed=$((passed + p))
    failed=$((failed + f))
}
