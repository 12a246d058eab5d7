#!/usr/bin/env bash
# A client whose node is stopped and restarted: tests/reconnect/run.sh [--only PART_OF_A_NAME]; WEFT_BUILD is the build to test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec python3 tests/reconnect/run.py "${WEFT_BUILD:-build/release}" "$@"
