#!/usr/bin/env bash
# clang-tidy over every C++ file of capi, core and fabric that the build of $WEFT_BUILD compiles; a file is one test.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=${WEFT_BUILD:-$PWD/build/release}
[ -f "$build/compile_commands.json" ] || { echo "lint: $build is not built" >&2; exit 1; }

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
export build results
check() {
    local file=$1 name=${1//\//-}
    clang-tidy-19 --quiet -p "$build" "$file" >"$results/$name.log" 2>/dev/null
    if [ $? = 0 ]; then touch "$results/$name.passed"; else touch "$results/$name.failed"; fi
}
export -f check
python3 - "$build/compile_commands.json" <<'PROGRAM' | xargs -r -P "$(nproc)" -I{} bash -c 'check {}'
import json, os, re, sys
files = {os.path.relpath(command["file"]) for command in json.load(open(sys.argv[1]))}
print(*sorted(file for file in files if re.match(r"(capi|core|fabric)/.*\.cpp$", file)), sep="\n")
PROGRAM
# Once each, however many files include the header that it is in.
cat "$results"/*.log | grep -E '^/.*: (error|warning):' | sed "s|^$PWD/||" | sort -u
passed=$(find "$results" -name '*.passed' | wc -l)
failed=$(find "$results" -name '*.failed' | wc -l)
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
