#!/usr/bin/env bash
# Does every C++ file of capi, core and fabric compile for aarch64? Parses each as the build of $WEFT_BUILD compiles it, with
# the target replaced; a file is one test. Needs root or sudo once, for Debian's cross headers of libc and libstdc++; OpenSSL's
# header for aarch64, the one other that differs by machine, comes from the same mirror into the cache outside the tree.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${WEFT_BUILD:-$PWD/build/release}
package=g++-12-aarch64-linux-gnu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed() { cat "$log" >&2; echo "aarch64: $1" >&2; exit 1; }

if ! dpkg-query -W -f '${db:Status-Abbrev}' $package 2>/dev/null | grep -q ^ii; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    { "${as_root[@]}" apt-get -y update && "${as_root[@]}" apt-get -y --no-install-recommends install $package; } \
        >"$log" 2>&1 </dev/null || failed "apt-get failed to install $package"
fi

prefix=${WEFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}/aarch64-1
if [ ! -f "$prefix/.complete" ]; then
    work=$prefix/fetched
    mkdir -p "$work"/{lists,archives}/partial
    # The machine's own sources, read for another architecture, and nothing installed there.
    apt=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$work/lists"
        -o Dir::State::status=/dev/null -o Dir::Cache="$work" -o APT::Sandbox::User=)
    (cd "$work" && apt-get "${apt[@]}" update && apt-get "${apt[@]}" download libssl-dev && dpkg-deb -x libssl-dev_*.deb ../root) \
        >"$log" 2>&1 || failed "apt-get failed to fetch libssl-dev of arm64"
    rm -rf "$work"
    touch "$prefix/.complete"
fi

PYTHONPATH=tests/tidy python3 - "$build" "$prefix/root/usr/include/aarch64-linux-gnu" <<'PROGRAM'
import sys
from pathlib import Path
from compiled import judge

flags = ["--target=aarch64-linux-gnu", "-isystem", sys.argv[2], "-fsyntax-only"]


def parse(file):
    done = file.run(*flags)
    return f"{file.name}:\n{done.stderr}" if done.returncode else ""


sys.exit(judge(Path(sys.argv[1]), parse))
PROGRAM
