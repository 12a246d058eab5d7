#!/usr/bin/env bash
# The ABI checks against the library of $WEFT_BUILD (build/release where it is unset).
exec python3 "$(dirname "$0")/abi_test.py"
