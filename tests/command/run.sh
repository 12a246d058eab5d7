#!/usr/bin/env bash
# The `weft` command of $WEFT_BUILD (build/release where it is unset), as scripts, supervisors and scrapers use it.
exec python3 "$(dirname "$0")/all.py"
