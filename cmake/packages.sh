#!/usr/bin/env bash
# Installs by apt what a bare Debian 12 (or later) lacks of what this project needs; silent where nothing is missing.
#   cmake/packages.sh            to build the library, the command, the examples and the Python package
#   cmake/packages.sh --tests    also what only the tests and benchmarks use
# Needs root or sudo only when something is missing. On other systems install the like of these and skip this script.
set -euo pipefail

build=(
    ca-certificates git cmake ninja-build ccache pkg-config
    clang-19 libclang-rt-19-dev g++                 # gcc 12 cannot compile coroutines over kj::Promise; g++ has libstdc++
    libssl-dev libxxhash-dev                        # SHA-256 and XXH3, linked statically
    libcli11-dev nlohmann-json3-dev                 # the command
    python3 python3-dev python3-venv swig           # the Python package
)
tests=(
    doctest-dev clang-format-19 clang-tidy-19
    abigail-tools binutils                          # abidw, abidiff; nm, readelf
    redis-server libhiredis-dev wrk                 # the benchmark's neighbour, and what asks the gateway
    procps util-linux                               # ps; setsid, flock, unshare
    dpkg-dev file                                   # Debian packages of one's own
    bindgen                                         # compares the declarations of sdk-rust with weft.h
    spin                                            # checks the models of the protocols
)
# Rust of 1.85 or newer, where there is none: Debian 12 calls it so.
command -v cargo >/dev/null || tests+=(rustc-web cargo-web rustfmt-web rust-web-clippy)

wanted=("${build[@]}")
case "${1:-}" in
    "") ;;
    --tests) wanted+=("${tests[@]}") ;;
    *) echo "packages: unknown argument '$1'; there is only --tests" >&2; exit 2 ;;
esac
if ! command -v dpkg-query >/dev/null; then
    echo "packages: no dpkg here; install the like of: ${wanted[*]}" >&2
    exit 1
fi

missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    [ "${state:0:2}" = ii ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "packages: as root, install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi
echo "packages: installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1 </dev/null
}
if ! { apt update && apt install --no-install-recommends "${missing[@]}"; }; then
    tail -n 40 "$log" >&2
    echo "packages: apt-get failed to install ${missing[*]}" >&2
    exit 1
fi
