#!/usr/bin/env bash
# Prints the path of a Go that can build and check Weft's Go: the one in PATH where it is new enough, else Debian's own from
# bookworm-backports, unpacked once into the cache outside the tree (Debian 12 itself has 1.19).
#   "$(cmake/go.sh)" build ./...
# It comes from the mirror that this machine already uses, with the suite replaced, under apt's own signatures.
set -euo pipefail
least=23 # 1.23: staticcheck's; the SDK itself needs 1.22
minor() { "$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p'; }
found=$(command -v go || true)
if [ -n "$found" ] && [ "$(minor "$found")" -ge $least ] 2>/dev/null; then echo "$found"; exit 0; fi

cache=${WEFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weft}
prefix=$cache/go-1.$least-1
go=$prefix/usr/lib/go-1.$least/bin/go
if [ -f "$prefix/.complete" ]; then echo "$go"; exit 0; fi
say() { echo "go: $*" >&2; }
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -f "$prefix/.complete" ]; then echo "$go"; exit 0; fi
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# A list of the backports on that mirror.
list=$work/backports.sources
if [ -f /etc/apt/sources.list.d/debian.sources ]; then
    awk 'BEGIN { RS = ""; ORS = "\n\n" } /Suites:[^\n]*bookworm( |\n)/ { print; exit }' /etc/apt/sources.list.d/debian.sources |
        sed -e 's/^Types:.*/Types: deb/' -e 's/^Suites:.*/Suites: bookworm-backports/' >"$list"
else
    list=$work/backports.list
    sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) bookworm main.*/deb \1\2 bookworm-backports main/p' /etc/apt/sources.list |
        head -n 1 >"$list"
fi
[ -s "$list" ] || { say "Go 1.$least or newer is needed, and this is no Debian 12 to take it from: install it"; exit 1; }
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
chmod 755 "$work"
apt=(-o "Dir::Etc::sourcelist=$list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work" -o APT::Sandbox::User=)
say "fetching Go 1.$least from Debian's backports (about 50 MB)"
apt-get "${apt[@]}" update >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; exit 1; }
(cd "$work/archives" && apt-get "${apt[@]}" download "golang-1.$least-go" "golang-1.$least-src") >"$work/apt.log" 2>&1 ||
    { cat "$work/apt.log" >&2; exit 1; }
for package in "$work"/archives/*.deb; do dpkg-deb -x "$package" "$work/root"; done
"$work/root/usr/lib/go-1.$least/bin/go" version >&2
touch "$work/root/.complete"
mv "$work/root" "$prefix"
echo "$go"
