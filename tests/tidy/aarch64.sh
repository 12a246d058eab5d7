#!/usr/bin/env bash
# Does every C++ file of capi, core and fabric compile for aarch64? Parses each as the build of $WEFT_BUILD compiles it, with
# the target replaced; a file is one test. Needs root or sudo once, for Debian's cross headers of libc and libstdc++; OpenSSL's
# header for aarch64, the one other that differs by machine, comes from the same mirror into the cache outside the tree.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${WEFT_BUILD:-$PWD/build/release}
[ -f "$build/compile_commands.json" ] || { echo "aarch64: $build is not built" >&2; exit 1; }
package=g++-12-aarch64-linux-gnu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed() { cat "$log" >&2; echo "aarch64: $1" >&2; exit 1; }

if ! dpkg-query -W -f '${db:Status-Abbrev}' $package 2>/dev/null | grep -q ^ii; then
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    { "${as_root[@]}" apt-get -y update && "${as_root[@]}" apt-get -y --no-install-recommends install $package; } \
        >"$log" 2>&1 </dev/null || failed "apt-get failed to install $package"
fi

prefix=${WEFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}/aarch64-1
if [ ! -f "$prefix/.complete" ]; then
    work=$prefix/fetched
    mkdir -p "$work"/{lists,archives}/partial
    # The machine's own sources, read for another architecture, and nothing installed there.
    apt=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$work/lists"
        -o Dir::State::status=/dev/null -o Dir::Cache="$work" -o APT::Sandbox::User=)
    (cd "$work" && apt-get "${apt[@]}" update && apt-get "${apt[@]}" download libssl-dev && dpkg-deb -x libssl-dev_*.deb ../root) \
        >"$log" 2>&1 || failed "apt-get failed to fetch libssl-dev of arm64"
    rm -rf "$work"
    touch "$prefix/.complete"
fi

python3 - "$build/compile_commands.json" "$prefix/root/usr/include/aarch64-linux-gnu" <<'PROGRAM'
import concurrent.futures, json, os, re, shlex, subprocess, sys

TARGET = ["--target=aarch64-linux-gnu", "-isystem", sys.argv[2], "-fsyntax-only"]


def parse(command):
    """The compiler's words where it refuses the file; its launcher and what it writes are left out."""
    words = shlex.split(command["command"])
    first = next(i for i, word in enumerate(words) if re.search(r"clang\+\+[-0-9]*$", word))
    words = words[first : words.index("-o")] + ["-c", command["file"]]
    words[1:1] = TARGET
    done = subprocess.run(words, cwd=command["directory"], capture_output=True, text=True)
    return done.stderr or f"status {done.returncode}" if done.returncode else ""


ours = {
    name: command
    for command in json.load(open(sys.argv[1]))
    if re.match(r"(capi|core|fabric)/.*\.cpp$", name := os.path.relpath(command["file"]))
}
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    wrong = dict(zip(ours, pool.map(parse, ours.values())))
for name, said in sorted(wrong.items()):
    if said:
        print(f"FAILED {name}\n{said}")
bad = sum(map(bool, wrong.values()))
print(f"{len(ours) - bad} passed, {bad} failed")
sys.exit(1 if bad or not ours else 0)
PROGRAM
