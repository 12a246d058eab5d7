#!/usr/bin/env bash
# Real processes under load and faults: tests/process/run.sh [--only PART_OF_A_NAME]. Prints a line for each test and at last
# `process: N passed, N failed`; WEFT_BUILD is the build to test. About three minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec python3 tests/process/run.py "${WEFT_BUILD:-build/release}" "$@"
