#!/usr/bin/env bash
# The crates of sdk-rust and all that is built on them: layout, clippy, tests, documentation, examples, the generated
# declarations, packaging, and what a user is told where Weft is missing or too old. A step is one test, a Rust test too.
# WEFT_BUILD is the build to test. A bare machine downloads tokio and what it needs (cargo, by sdk-rust/Cargo.lock).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export WEFT_BUILD=${WEFT_BUILD:-$PWD/build/release} CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/build/rust}
export CARGO_TERM_COLOR=never RUSTDOCFLAGS="-D warnings"
eval "$(tests/prefix.sh)"
. tests/checks.sh
top=$PWD
cd sdk-rust || exit 1

tests() { # NAME COMMAND...: counts each test of it
    "${@:2}" >"$work/tests" 2>&1
    counted "$1" "$work/tests" $?
}

says() { # WORDS COMMAND...: the command fails, and says these words
    ! "${@:2}" >"$work/said" 2>&1 && grep -qF -- "$1" "$work/said"
}

says_step() { # NAME WORDS COMMAND...
    says "${@:2}"
    local status=$?
    cp "$work/said" "$work/log"
    result "$1" $status
}

check "rustfmt lays out the code" cargo fmt --all --check
check "clippy finds nothing" cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
check "clippy finds nothing where the library is linked" cargo clippy --quiet --workspace --all-targets -- -D warnings
check "the generated declarations are fresh" ./regenerate.sh --check
tests "weft-sys" cargo test --quiet -p weft-sys -- --format=pretty
tests "weft-kv, and its documentation's code" cargo test --features weft-kv/tokio -p weft-kv
tests "weft-kv with the library loaded at run time" cargo test --features dlopen -p weft-kv --tests
check "the documentation has no dead link" cargo doc --quiet --no-deps -p weft-sys -p weft-kv --all-features

check "examples" cargo build --quiet -p weft-examples
for name in hello share ranks stream embeddings; do
    check "example $name" timeout 60 "$CARGO_TARGET_DIR/debug/$name"
done

# The quickstart's runtime, a workspace of its own; its numbers are compared with Python's.
runtime=(--manifest-path ../examples/runtime-rust/Cargo.toml)
check "rustfmt lays out the runtime" cargo fmt "${runtime[@]}" --check
check "clippy finds nothing in the runtime" cargo clippy --quiet "${runtime[@]}" --all-targets -- -D warnings
tests "the runtime, beside Python" env PYTHON="${WEFT_PYTHON:-$top/build/venv/bin/python}" \
    cargo test --release --locked "${runtime[@]}"

# A crate whose dependency is not in the registry yet is packaged by cargo 1.90 or newer only, both together. In a home of
# its own: cargo would take weft-sys from what it once unpacked under this version, and not the one that lies here.
mkdir -p "$work/cargo"
cp "${CARGO_HOME:-$HOME/.cargo}"/config* "$work/cargo/" 2>/dev/null
publish() { CARGO_HOME=$work/cargo cargo publish --quiet --dry-run --allow-dirty -p weft-sys -p weft-kv; }
publish_one() { CARGO_HOME=$work/cargo cargo publish --quiet --dry-run --allow-dirty -p weft-sys && cargo package --list --allow-dirty -p weft-kv; }
minor=$(cargo --version | sed -E 's/^cargo 1\.([0-9]+).*/\1/')
if [ "$minor" -ge 90 ]; then
    check "both crates could be published" publish
else
    check "weft-sys could be published (weft-kv only listed: cargo is older than 1.90)" publish_one
fi

# Bad machines. A check of its own folder, since what is built already would be fresh.
check=(env CARGO_TARGET_DIR="$work/target" cargo check --quiet -p weft-sys)
mkdir -p "$work/old" "$work/empty"
sed 's/^Version:.*/Version: 0.0.9/' "$(dirname "$(find "$WEFT_PREFIX" -name libweft.so.1 -print -quit)")/pkgconfig/weft.pc" \
    >"$work/old/weft.pc"
says_step "without Weft it says what to install" "Weft is not installed where pkg-config looks: install it" \
    env -u PKG_CONFIG_PATH "${check[@]}"
says_step "with an old Weft it says so" "the installed Weft is older than 0.1.0: install a newer one" \
    env PKG_CONFIG_PATH="$work/old" "${check[@]}"
says_step "a WEFT_LIB_DIR without the library is named" "WEFT_LIB_DIR=$work/empty has no libweft.so" \
    env WEFT_LIB_DIR="$work/empty" "${check[@]}"
check "WEFT_LIB_DIR will do without pkg-config" env -u PKG_CONFIG_PATH WEFT_LIB_DIR="$WEFT_BUILD" "${check[@]}"
check "an example that loads the library is built without one" env -u PKG_CONFIG_PATH CARGO_TARGET_DIR="$work/target" \
    cargo build --quiet -p weft-examples --features weft-kv/dlopen --bin hello
check "and runs where there is one" "$work/target/debug/hello"
says_step "and says what to install where there is none" "Weft is not installed where the loader looks" \
    env -u LD_LIBRARY_PATH "$work/target/debug/hello"

cd "$top" || exit 1
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
