#!/bin/sh
# Makes lowlevel_wrap.c and lowlevel.py from lowlevel.i and capi/weft.h with SWIG 4.1. --check compares instead and fails
# with a diff where they are stale (CI). The output depends on SWIG's version, which its first lines name.
set -eu
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
(cd lowlevel && swig -python -doxygen -DSWIGWORDSIZE64 -I../../capi -outdir "$out" -o "$out/lowlevel_wrap.c" lowlevel.i)
if [ "${1:-}" = --check ]; then
    diff -u lowlevel/lowlevel_wrap.c "$out/lowlevel_wrap.c" && diff -u src/weft/lowlevel.py "$out/lowlevel.py" &&
        echo "lowlevel: fresh"
else
    cp "$out/lowlevel_wrap.c" lowlevel/lowlevel_wrap.c
    cp "$out/lowlevel.py" src/weft/lowlevel.py
fi
