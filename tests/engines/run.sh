#!/usr/bin/env bash
# The connectors for engines, against the engines themselves: vLLM's real Scheduler and connector factory with a rig instead
# of a model, transformers with tiny models, each with a real node. WEFT_BUILD is the build to test. The first run installs
# vLLM in build/engines (some 6 GB); NAME... are arguments of pytest, such as connector_test.py or -k hybrid.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export WEFT_BUILD=${WEFT_BUILD:-$PWD/build/release}
venv=$(examples/vllm/install.sh "$WEFT_BUILD")
cd tests/engines
export PYTHONDONTWRITEBYTECODE=1
log=$(mktemp "${TMPDIR:-/tmp}/engines.XXXXXX")
trap 'rm -f "$log"' EXIT
status=0
"$venv/bin/python" -m pytest -q -W ignore -p no:cacheprovider "$@" 2>&1 | tee "$log" || status=$?
tail -n 3 "$log" | awk '
    / in [0-9.]+s/ {
        for (i = 1; i < NF; i++) {
            if ($(i + 1) ~ /^passed/) p = $i
            if ($(i + 1) ~ /^(failed|errors?)/) f += $i
        }
    }
    END { print p + 0 " passed, " f + 0 " failed" }'
exit $status
