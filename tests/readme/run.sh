#!/usr/bin/env bash
# Runs the code of the top README as it stands there, against an installation of $WEFT_BUILD.
exec python3 "$(dirname "$0")/readme_test.py"
