#!/usr/bin/env bash
# Hostile clients of other users: tests/hostile/run.sh [--seconds N] [--seed N] [--only PART_OF_A_NAME]. Prints a line for each test
# and at last `N passed, N failed`; WEFT_BUILD is the build to test. It must run as root, to become other users: where
# it does not, each test is left out by name and none is counted. About a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec python3 tests/hostile/run.py "${WEFT_BUILD:-build/release}" "$@"
