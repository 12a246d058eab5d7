#!/usr/bin/env bash
# Keeps what later libraries are compared with, from the library of $WEFT_BUILD (build/release where it is unset):
#   tests/abi/keep.sh            records baseline.abi anew: only before the first release, or after a reviewed growth
#   tests/abi/keep.sh 1.0.0      at a release: keeps its header, its dump and its compiled C test in releases/1.0.0 for good
# Commit what it writes, and write into capi/ABI.md what changed.
set -euo pipefail
cd "$(dirname "$0")"
build=${WEFT_BUILD:-../../build/release}
[ -f "$build/libweft.so.1" ] || { echo "keep: $build/libweft.so.1 is not built" >&2; exit 1; }

# The types that the header shows, without the paths of the machine that built them.
dump() {
    abidw --no-show-locs --no-comp-dir-path --no-corpus-path --type-id-style hash --exported-interfaces-only \
        --headers-dir ../../capi --drop-private-types "$build/libweft.so.1" | sed "s| path='[^']*'||" >"$1"
}

if [ $# = 0 ]; then
    dump baseline.abi
    echo "keep: wrote tests/abi/baseline.abi"
    exit 0
fi
[[ $1 =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || { echo "keep: '$1' is not a version like 1.0.0" >&2; exit 2; }
kept=releases/$1
[ ! -e "$kept" ] || { echo "keep: $kept is there already, and a release does not change" >&2; exit 1; }
mkdir -p "$kept"
dump "$kept/weft.abi"
cp ../../capi/weft.h "$kept/weft.h"
clang-19 -std=c11 -O2 -I../../capi release.c -L"$build" -Wl,--no-as-needed -l:libweft.so.1 -o "$kept/release"
echo "keep: wrote tests/abi/$kept"
