#!/usr/bin/env bash
# The rules of style that a program can check, over the whole tree; --fix rewrites the layout.
exec python3 "$(dirname "$0")/tidy.py" "$@"
