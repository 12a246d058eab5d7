#!/usr/bin/env bash
# Real processes in four languages that are killed, stopped and starved for two minutes while every byte is checked:
#   tests/process/torture/run.sh [--seconds N] [--seed N] [--rate FAULTS_A_SECOND] [--json]
# An hour of it: --seconds 3600. It builds the workers in Go and Rust; those in C++ are of WEFT_BUILD, build/release where it is
# unset; WEFT_PYTHON is a Python that has the package weft.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
top=$PWD/../../..
build=${WEFT_BUILD:-$top/build/release}
rust=${CARGO_TARGET_DIR:-$top/build/rust}
eval "$(../../prefix.sh)"
CARGO_TARGET_DIR=$rust cargo build -q --release --manifest-path worker-rust/Cargo.toml
go=$build/tests/process/torture_go
"$(../../../cmake/go.sh)" build -C worker-go -buildvcs=false -o "$go"
export LD_LIBRARY_PATH=$build
exec python3 run.py "$build" --go "$go" --rust "$rust/release/weft-torture" --python "${WEFT_PYTHON:-$top/build/venv/bin/python}" "$@"
