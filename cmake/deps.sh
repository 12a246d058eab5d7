#!/usr/bin/env bash
# Fetches and builds the libraries that Debian 12 has not, once, into a cache outside the tree:
#   deps.sh            prints the prefixes to give to CMake, separated by semicolons (find_package looks there)
# Cap'n Proto (RPC, and the HTTP server behind metrics=), and of prometheus-cpp the core alone (the text that a scrape reads):
# Debian's own is a shared library that would become one of libweft's.
# Sources come from the machine's own apt lists with the suite replaced, pinned by SHA-256. They are built static, PIC and hidden,
# so that nothing of them is visible in libweft.so; clang, because gcc 12 cannot compile Cap'n Proto's coroutines.
set -euo pipefail
cxx=${CXX:-clang++-19}
cc=${CC:-clang-19}
cache=${WEFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}
# The stamp at the end of a name makes a changed recipe a new prefix; sanitizer builds link the same static libraries.
capnp=$cache/deps-capnp-1.1.0-1
prometheus=$cache/deps-prometheus-1.0.2-1
all_there() { [ -f "$capnp/.complete" ] && [ -f "$prometheus/.complete" ]; }
done_with() { echo "$capnp;$prometheus"; exit 0; }
all_there && done_with
say() { echo "deps: $*" >&2; }
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
all_there && done_with
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
[ -s "$list" ] || { say "no Debian list found in /etc/apt; use -DWEFT_DEPS=system with Cap'n Proto >= 1.0 and prometheus-cpp installed"; exit 1; }
mkdir -p "$work/lists/partial"
apt=(-o "Dir::Etc::sourcelist=$list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::Lists=$work/lists")
say "reading the list of sources"
apt-get "${apt[@]}" update >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; exit 1; }

# build PREFIX PACKAGE SHA256 OPTION...: into the prefix, unless it is there.
build() {
    local prefix=$1 package=$2 sha256=$3 uri source=$work/$2
    shift 3
    [ ! -f "$prefix/.complete" ] || return 0
    uri=$(apt-get "${apt[@]}" source --print-uris "$package" 2>/dev/null | sed -n "s/^'\([^']*orig.tar.gz\)'.*/\1/p")
    [ -n "$uri" ] || { say "the mirror has no source of $package"; exit 1; }
    say "fetching $package"
    /usr/lib/apt/apt-helper "${apt[@]}" download-file "$uri" "$work/$package.tar.gz" "SHA256:$sha256" >&2
    mkdir "$source"
    tar -xzf "$work/$package.tar.gz" -C "$source" --strip-components=1
    [ -f "$source/CMakeLists.txt" ] || source=$source/c++
    say "building it (a minute or less)"
    cmake -S "$source" -B "$work/$package-build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="$cc" \
        -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_CXX_STANDARD=20 -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
        -DCMAKE_CXX_VISIBILITY_PRESET=hidden -DCMAKE_VISIBILITY_INLINES_HIDDEN=ON -DBUILD_SHARED_LIBS=OFF \
        -DCMAKE_INSTALL_PREFIX="$prefix" "$@" >"$work/cmake.log" 2>&1 || { tail -n 30 "$work/cmake.log" >&2; exit 1; }
    ninja -C "$work/$package-build" install >"$work/ninja.log" 2>&1 || { tail -n 30 "$work/ninja.log" >&2; exit 1; }
    touch "$prefix/.complete"
    say "built into $prefix"
}

build "$capnp" capnproto 07167580e563f5e821e3b2af1c238c16ec7181612650c5901330fa9a0da50939 \
    -DBUILD_TESTING=OFF -DWITH_OPENSSL=OFF -DWITH_ZLIB=OFF
build "$prometheus" prometheus-cpp 65838fed64c4667140a574b78eb9f5c995bab80d575b082c9c677c6795c3c607 \
    -DENABLE_PULL=OFF -DENABLE_PUSH=OFF -DENABLE_COMPRESSION=OFF -DENABLE_TESTING=OFF -DGENERATE_PKGCONFIG=OFF \
    -DOVERRIDE_CXX_STANDARD_FLAGS=OFF
done_with
