#!/bin/sh
# Makes weft-sys/src/bindings.rs from capi/weft.h with bindgen 0.60 (Debian 12's). --check compares instead and fails with a
# diff where it is stale (CI). The output depends on bindgen's version, which its first line names.
set -eu
cd "$(dirname "$0")"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
bindgen ../capi/weft.h --allowlist-function 'weft_.*' --allowlist-type 'weft_.*' --allowlist-var 'WEFT_.*' \
    --default-macro-constant-type signed --with-derive-default -o "$out"
if [ "${1:-}" = --check ]; then
    diff -u weft-sys/src/bindings.rs "$out" && echo "bindings.rs: fresh"
else
    cp "$out" weft-sys/src/bindings.rs
fi
