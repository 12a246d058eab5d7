#!/usr/bin/env bash
# Installs the build under test into its folder `prefix` and prints what makes compilers and programs find it there, so that
# the SDKs are tested against an installed Weft, as their users have it:
#   eval "$(tests/prefix.sh)"
# WEFT_BUILD is the build, build/release where it is unset.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${WEFT_BUILD:-$PWD/build/release}
prefix=$build/prefix
(
    flock 9
    cmake --install "$build" --prefix "$prefix" >"$build/prefix.log" 2>&1 || { cat "$build/prefix.log" >&2; exit 1; }
) 9>"$build/prefix.lock"
library=$(dirname "$(find "$prefix" -name libweft.so.1 -print -quit)")
echo "export WEFT_PREFIX='$prefix' PKG_CONFIG_PATH='$library/pkgconfig' LD_LIBRARY_PATH='$library' PATH='$prefix/bin':\"\$PATH\""
