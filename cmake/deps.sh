#!/usr/bin/env bash
# Fetches and builds the libraries that Debian 12 has not, once, into a cache outside the tree:
#   deps.sh            prints the prefix to give to CMake (find_package looks there)
# Sources come from the machine's own apt lists with the suite replaced, pinned by SHA-256. Cap'n Proto is built static,
# PIC and hidden, so that nothing of it is visible in libweft.so; clang, because gcc 12 cannot compile its coroutines.
set -euo pipefail
version=1.1.0
sha256=07167580e563f5e821e3b2af1c238c16ec7181612650c5901330fa9a0da50939
cxx=${CXX:-clang++-19}
cc=${CC:-clang-19}
cache=${WEFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}
# The stamp in the name makes a changed recipe a new prefix; sanitizer builds link the same static library.
prefix=$cache/deps-capnp-$version-1
if [ -f "$prefix/.complete" ]; then echo "$prefix"; exit 0; fi
say() { echo "deps: $*" >&2; }
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -f "$prefix/.complete" ]; then echo "$prefix"; exit 0; fi
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# A list of trixie's sources on the mirror that this machine already uses.
list=$work/trixie.sources
if [ -f /etc/apt/sources.list.d/debian.sources ]; then
    awk 'BEGIN { RS = ""; ORS = "\n\n" } /Suites:[^\n]*bookworm( |\n)/ { print; exit }' /etc/apt/sources.list.d/debian.sources |
        sed -e 's/^Types:.*/Types: deb-src/' -e 's/^Suites:.*/Suites: trixie/' >"$list"
else
    list=$work/trixie.list
    sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) bookworm main.*/deb-src \1\2 trixie main/p' /etc/apt/sources.list | head -n 1 >"$list"
fi
[ -s "$list" ] || { say "no Debian list found in /etc/apt; use -DWEFT_DEPS=system with Cap'n Proto >= 1.0 installed"; exit 1; }
mkdir -p "$work/lists/partial"
apt=(-o "Dir::Etc::sourcelist=$list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::Lists=$work/lists")
say "fetching Cap'n Proto $version"
apt-get "${apt[@]}" update >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; exit 1; }
uri=$(apt-get "${apt[@]}" source --print-uris capnproto 2>/dev/null | sed -n "s/^'\([^']*orig.tar.gz\)'.*/\1/p")
[ -n "$uri" ] || { say "the mirror has no source of capnproto"; exit 1; }
/usr/lib/apt/apt-helper "${apt[@]}" download-file "$uri" "$work/capnp.tar.gz" "SHA256:$sha256" >&2
mkdir "$work/src"
tar -xzf "$work/capnp.tar.gz" -C "$work/src" --strip-components=1
source=$work/src
[ -f "$source/CMakeLists.txt" ] || source=$work/src/c++
say "building it (about a minute)"
cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
    -DCMAKE_CXX_STANDARD=20 -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_CXX_VISIBILITY_PRESET=hidden \
    -DCMAKE_VISIBILITY_INLINES_HIDDEN=ON -DBUILD_TESTING=OFF -DBUILD_SHARED_LIBS=OFF -DWITH_OPENSSL=OFF -DWITH_ZLIB=OFF \
    -DCMAKE_INSTALL_PREFIX="$prefix" >"$work/cmake.log" 2>&1 || { tail -n 30 "$work/cmake.log" >&2; exit 1; }
ninja -C "$work/build" install >"$work/ninja.log" 2>&1 || { tail -n 30 "$work/ninja.log" >&2; exit 1; }
touch "$prefix/.complete"
say "built into $prefix"
echo "$prefix"
