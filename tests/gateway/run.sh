#!/usr/bin/env bash
# The gateway in Go: layout, vet, staticcheck, its tests under the race detector (against a real node, with engines that are
# processes), and each fuzzer for a few seconds. WEFT_BUILD is the build to test. Go comes from cmake/go.sh, modules and staticcheck
# (pinned in ../go/tools/go.mod) from the Go module proxy.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
eval "$(tests/prefix.sh)" || exit 1
go=$(cmake/go.sh) || exit 1
export PATH=${go%/*}:$PATH GOFLAGS=-buildvcs=false
work=$(mktemp -d "${TMPDIR:-/tmp}/gateway.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd examples/gateway || exit 1
passed=0
failed=0

check() { # NAME COMMAND...: one test, which says nothing where it passes
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        echo "ok: $name"
        passed=$((passed + 1))
    else
        echo "FAILED: $name"
        cat "$work/log"
        failed=$((failed + 1))
    fi
}

is_laid_out() {
    local wrong
    wrong=$(gofmt -l .) && [ -z "$wrong" ] || { echo "gofmt -w: $wrong"; return 1; }
}

# Every test counts.
run_tests() {
    go test -race -count=1 -v -timeout 600s . >"$work/tests" 2>&1
    local status=$?
    local p f
    p=$(grep -c '^--- PASS' "$work/tests")
    f=$(grep -c '^--- FAIL' "$work/tests")
    [ $status = 0 ] || [ "$f" != 0 ] || f=1
    [ $f = 0 ] || cat "$work/tests"
    echo "$p tests passed under the race detector, $f failed"
    passed=$((passed + p))
    failed=$((failed + f))
}

check "it is laid out by gofmt" is_laid_out
check "vet" go vet ./...
check "staticcheck is built as pinned" go build -C ../../tests/go/tools -o "$work/staticcheck" honnef.co/go/tools/cmd/staticcheck
check "staticcheck" "$work/staticcheck" ./...
check "go.mod and go.sum are complete" go mod verify
check "gateway and parrot are built" go build -race -o "$work/" . ./parrot
export GATEWAY=$work/gateway PARROT=$work/parrot
run_tests
for fuzzer in FuzzTheDirectWay FuzzCutter; do
    check "$fuzzer, for five seconds" go test -run '^$' -fuzz "^$fuzzer\$" -fuzztime 5s -parallel 2 .
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
