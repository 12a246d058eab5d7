#!/usr/bin/env bash
# clang-tidy over what ships, by the rules of .clang-tidy: minutes the first time, then only what has changed.
exec python3 "$(dirname "$0")/lint.py" "$@"
