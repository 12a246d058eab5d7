#!/usr/bin/env bash
# Go: the SDK, its examples and the conformance player: layout, vet, staticcheck, tests under the race detector, the code of
# the README, and what a user meets who has no libweft, or one that is too old. WEFT_BUILD is the build to test. Go comes from
# cmake/go.sh; staticcheck, pinned in tools/go.mod, from the Go module proxy.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
eval "$(tests/prefix.sh)" || exit 1
go=$(cmake/go.sh) || exit 1
export PATH=${go%/*}:$PATH GOFLAGS=-buildvcs=false
. tests/checks.sh
modules=(sdk-go examples/go tests/conformance/player-go tests/bench/go tests/process/torture/worker-go)

is_laid_out() {
    local wrong
    wrong=$(gofmt -l "$@") && [ -z "$wrong" ] || { echo "gofmt -w: $wrong"; return 1; }
}

# In generated code vet takes SWIG's strings for a misuse of unsafe.Pointer; nothing else is left out.
vet() {
    (
        cd "$1" && go vet -unsafeptr=false ./... || exit 1
        mapfile -t packages < <(go list ./... | grep -v /lowlevel)
        go vet "${packages[@]}"
    )
}

staticcheck() { (cd "$1" && "$work/staticcheck" ./...); }

# Every test and example counts.
test_sdk() {
    (cd sdk-go && go test -race -count=1 -v -timeout 300s ./...) >"$work/tests" 2>&1
    counted "sdk-go, under the race detector" "$work/tests" $?
}

example() { (cd examples/go && go run "./$1"); }

# The program of the README, as a user writes it: in a module of its own.
readme() {
    mkdir -p "$work/readme" && awk '/^```go$/ { on = 1; next } /^```$/ { on = 0 } on && !done; /^}$/ && on { done = 1 }' \
        sdk-go/README.md >"$work/readme/main.go"
    (cd "$work/readme" && go mod init example.com/readme && go mod edit -require=github.com/weft-kv/weft/sdk-go@v0.1.0 \
        -replace="github.com/weft-kv/weft/sdk-go=$OLDPWD/sdk-go" && [ "$(go run .)" = "4 4 256 true" ])
}

says() { # WORDS COMMAND...: it fails, with these words
    local words=$1
    shift
    if "$@" >"$work/said" 2>&1; then echo "it does not fail"; return 1; fi
    grep -q "$words" "$work/said" || { cat "$work/said"; return 1; }
}

# Of its own flags, so that nothing built before is taken from Go's cache.
without_library() {
    (cd sdk-go && CGO_CFLAGS=-O1 PKG_CONFIG_PATH=$work PKG_CONFIG_LIBDIR=$work go build .)
}

without_cgo() { (cd sdk-go && CGO_ENABLED=0 go build .); }

# A weft.h of before the first ABI, found as an installed one is.
with_too_old_library() {
    mkdir -p "$work/old" && sed 's/^#define WEFT_ABI .*/#define WEFT_ABI 0/' "$WEFT_PREFIX/include/weft.h" >"$work/old/weft.h"
    printf 'Name: weft\nDescription: old\nVersion: 0.0.1\nCflags: -I%s\nLibs: -L%s -lweft\n' "$work/old" "$LD_LIBRARY_PATH" \
        >"$work/old/weft.pc"
    (cd sdk-go && CGO_CFLAGS=-O1 PKG_CONFIG_PATH=$work/old go build ./internal/lowlevel)
}

# A libweft of before the first ABI, at run time: weft_abi is all that is asked of it.
with_older_library_at_run_time() {
    echo 'unsigned weft_abi(void) { return 0; }' | cc -shared -fPIC -x c - -o "$work/older.so" &&
        (cd "$work/readme" && go build -o ../program . && LD_PRELOAD=$work/older.so ../program)
}

existing=()
for module in "${modules[@]}"; do [ ! -f "$module/go.mod" ] || existing+=("$module"); done
check "Go is laid out by gofmt" is_laid_out "${existing[@]}"
check "generated files are fresh" sdk-go/regenerate.sh --check
for module in "${existing[@]}"; do check "vet of $module" vet "$module"; done
check "staticcheck is built as pinned" go build -C tests/go/tools -o "$work/staticcheck" honnef.co/go/tools/cmd/staticcheck
for module in "${existing[@]}"; do check "staticcheck of $module" staticcheck "$module"; done
test_sdk
for name in hello share ranks stream embeddings; do check "example $name" example $name; done
check "the README's program" readme
check "a missing library is named, and where it is looked for" says "weft.pc" without_library
check "and what to install" says "'weft', required by 'install-libweft-dev', not found" without_library
check "a build without cgo says what it needs" says "Weft needs CGO_ENABLED=1, a C compiler and an installed libweft-dev" \
    without_cgo
check "a library that is too old says what to install" says "install libweft 0.1 or newer" with_too_old_library
check "and one that is too old where a program runs" says "ABI 0 .*: install a newer libweft" with_older_library_at_run_time
echo "$passed passed, $failed failed"
[ $failed = 0 ]
