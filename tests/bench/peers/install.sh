#!/usr/bin/env bash
# Puts the peers into build/peers, and prints the environment to run them in, as shell code:
#   eval "$(tests/bench/peers/install.sh BUILD)"      BUILD: where libweft.so.1 and the command `weft` are built
# Python packages are pinned in requirements.txt (LMCache brings torch, some 4 GB); memcached, and the libraries that Mooncake
# loads, are this Debian's, unpacked and not installed; redis-server is the system's (cmake/packages.sh --tests). What cannot
# be had is named on standard error and in PEERS_ABSENT. What is there already stays.
set -euo pipefail
build=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
wanted=$PWD/tests/bench/peers/requirements.txt
peers=$PWD/build/peers
mkdir -p "$peers/debs"
exec 9>"$peers/lock"
flock 9
say() { echo "peers: $*" >&2; }
absent=

debs=(memcached libevent-2.1-7 libsasl2-2 libibverbs1 libnl-3-200 libnl-route-3-200)
if [ ! -x "$peers/root/usr/bin/memcached" ]; then
    say "unpacking memcached and the libraries of Mooncake"
    (cd "$peers/debs" && apt-get download "${debs[@]}") >"$peers/apt.log" 2>&1 || tail -n 2 "$peers/apt.log" >&2
    for deb in "$peers"/debs/*.deb; do [ ! -f "$deb" ] || dpkg -x "$deb" "$peers/root"; done
fi
[ -x "$peers/root/usr/bin/memcached" ] || absent+=" memcached"
command -v redis-server >/dev/null || { say "redis-server is not installed: cmake/packages.sh --tests"; absent+=" Redis"; }

venv=$peers/venv
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv" >&2
if ! cmp -s "$wanted" "$peers/requirements.txt"; then
    say "installing Mooncake and LMCache (some 4 GB)"
    "$venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.9 >&2
    if VIRTUAL_ENV=$venv "$venv/bin/uv" pip install --quiet -r "$wanted" >&2; then
        cp "$wanted" "$peers/requirements.txt"
    else
        # One of them may still be had.
        numpy=$(grep '^numpy' "$wanted")
        for one in mooncake lmcache; do
            VIRTUAL_ENV=$venv "$venv/bin/uv" pip install --quiet "$numpy" "$(grep "^$one" "$wanted")" >&2 || say "$one: not installed"
        done
    fi
fi
libraries=$peers/root/usr/lib/$(uname -m)-linux-gnu:$peers/root/lib/$(uname -m)-linux-gnu
LD_LIBRARY_PATH=$libraries "$venv/bin/python" -c 'import mooncake.store' 2>/dev/null || absent+=" Mooncake"
"$venv/bin/python" -c 'import lmcache.lmcache_fs' 2>/dev/null || absent+=" LMCache"

# The package anew only where it or the library has changed since.
mark=$venv/weft-installed
if [ "$(cat "$mark" 2>/dev/null)" != "$build" ] ||
    [ -n "$(find -L "$build/libweft.so.1" sdk-python/{src,lowlevel,pyproject.toml,CMakeLists.txt} -newer "$mark" -type f -not -name '*.pyc' -print -quit)" ]; then
    echo "$build" >"$venv/weft-begun"
    WEFT_LIB_DIR=$build "$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps ./sdk-python >&2
    mv "$venv/weft-begun" "$mark" # as old as the beginning of the installation
fi
printf 'export PATH=%q LD_LIBRARY_PATH=%q PEERS_ABSENT=%q\n' "$venv/bin:$peers/root/usr/bin:$PATH" "$libraries" "$absent"
