#!/usr/bin/env bash
# Weft beside Redis, memcached, Mooncake Store and LMCache, on the same work in the same run, each row against one of them:
#   tests/bench/peers/run.sh             about a quarter of an hour, and 5 GB of memory, on a quiet machine; a table
#   tests/bench/peers/run.sh --quick     about two minutes: blocks of 256 KiB and 1 MiB, few turns
#   tests/bench/peers/run.sh --json      one line a figure, as tests/bench/run.sh's
#   tests/bench/peers/run.sh --markdown  one line a peer and size: the tables of RESULTS.md
#   tests/bench/peers/run.sh NAME...     only peers whose name has NAME in it: mooncake, "redis, tcp"
# compare.py says what is measured, on_NAME.py and servers.py by which calls and with which settings. Clients are in Python, as
# Weft's and the peers' users have them; below that all are C++ or C. The peers are installed into build/peers at the first run.
# As root all of it runs in a network namespace of its own with the congestion control reno: bbr costs a lot on loopback.
# WEFT_BUILD: the build directory, build/release where it is unset; it is built first. A missed target is no failure, a wrong
# byte or a peer that fails is. p99 rows are printed and compared as the others; on a machine that is not alone they are noise,
# so the last lines count them apart from the medians.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../../.."
json=()
markdown=
arguments=()
for argument in "$@"; do
    case "$argument" in
        --json) json=(--json) ;;
        --markdown) markdown=1 ;;
        -h | --help) sed -n '2,15s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        --quick) arguments+=("$argument") ;;
        -*) echo "tests/bench/peers/run.sh: unknown argument '$argument'; there are --quick, --json, --markdown, and names of peers" >&2; exit 2 ;;
        *) arguments+=("$argument") ;;
    esac
done

build=${WEFT_BUILD:-$PWD/build/release}
[ -f "$build/build.ninja" ] || cmake --preset release >&2
ninja -C "$build" weft weft_command >&2
environment=$("$here/install.sh" "$build")
eval "$environment"
work=$(mktemp -d "${TMPDIR:-/tmp}/peers.XXXXXX")
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work

# Its own network: loopback has to be set up, and the congestion control is of the namespace.
alone='import fcntl, socket, struct
with socket.socket() as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running
open("/proc/sys/net/ipv4/tcp_congestion_control", "w").write("reno")'
apart=()
if [ "$(id -u)" = 0 ] && unshare --net python3 -c "$alone" 2>/dev/null; then
    apart=(unshare --net bash -c 'python3 -c "$0" && exec "$@"' "$alone")
fi
control=$("${apart[@]}" cat /proc/sys/net/ipv4/tcp_congestion_control)
echo "peers: $(nproc) processors, load average $(cut -d' ' -f1-3 /proc/loadavg), TCP by $control, $(redis-server --version | cut -d' ' -f3)," \
    "$(memcached -V), $(grep -E '^(moon|lmc)' "$here/requirements.txt" | tr '\n' ' ')" >&2
status=0
"${apart[@]}" "$PWD/build/peers/venv/bin/python" "$here/compare.py" "${arguments[@]}" >"$work/rows" || status=$?
if [ -n "$markdown" ]; then
    python3 "$here/summary.py" --markdown <"$work/rows"
else
    python3 tests/bench/report.py "${json[@]}" <"$work/rows"
    python3 "$here/summary.py" <"$work/rows" >&2 # with --json its lines are figures only
fi
echo "peers: load average $(cut -d' ' -f1-3 /proc/loadavg) at the end" >&2
exit $status
