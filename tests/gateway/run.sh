#!/usr/bin/env bash
# The gateway in Go: layout, vet, staticcheck, its tests under the race detector (against a real node, with engines that are
# processes), and the inputs that fuzzing has found. WEFT_BUILD is the build to test. Go comes from cmake/go.sh, modules and staticcheck
# (pinned in ../go/tools/go.mod) from the Go module proxy.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
eval "$(tests/prefix.sh)" || exit 1
go=$(cmake/go.sh) || exit 1
export PATH=${go%/*}:$PATH GOFLAGS=-buildvcs=false
. tests/checks.sh
cd examples/gateway || exit 1

is_laid_out() {
    local wrong
    wrong=$(gofmt -l .) && [ -z "$wrong" ] || { echo "gofmt -w: $wrong"; return 1; }
}

# Every test counts.
run_tests() {
    go test -race -count=1 -v -timeout 600s . >"$work/tests" 2>&1
    counted "the gateway, under the race detector" "$work/tests" $?
}

check "it is laid out by gofmt" is_laid_out
check "vet" go vet ./...
check "staticcheck is built as pinned" go build -C ../../tests/go/tools -o "$work/staticcheck" honnef.co/go/tools/cmd/staticcheck
check "staticcheck" "$work/staticcheck" ./...
check "go.mod and go.sum are complete" go mod verify
check "gateway and parrot are built" go build -race -o "$work/" . ./parrot
export GATEWAY=$work/gateway PARROT=$work/parrot
run_tests
# The inputs kept so far are tests above; new ones are looked for where WEFT_FUZZ says how many (tests/long.sh).
if [ -n "${WEFT_FUZZ:-}" ]; then
    for fuzzer in FuzzTheDirectWay FuzzCutter; do
        check "$fuzzer, $WEFT_FUZZ inputs" go test -run '^$' -fuzz "^$fuzzer\$" -fuzztime "${WEFT_FUZZ}x" -parallel 2 .
    done
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
