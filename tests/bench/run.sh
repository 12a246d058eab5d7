#!/usr/bin/env bash
# Every figure of the benchmark, each beside its reference in the same run:
#   tests/bench/run.sh            about ten minutes; a table
#   tests/bench/run.sh --quick    about two minutes: fewer turns, the idle node watched for 10 s and not 100 s
#   tests/bench/run.sh --json     one line a figure: {"name", "value", "unit", "reference", "ratio", "target", "met"}
# WEFT_BUILD: the build directory, build/release where it is unset; it is built first. Rows that need what is not installed
# (hiredis, redis-server, the Python package) are named and left out. A missed target is no failure, a wrong byte is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

quick=()
json=()
for argument in "$@"; do
    case "$argument" in
        --quick) quick=(--quick) ;;
        --json) json=(--json) ;;
        -h | --help) sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) echo "tests/bench/run.sh: unknown argument '$argument'; there are --quick and --json" >&2; exit 2 ;;
    esac
done

build=${WEFT_BUILD:-$PWD/build/release}
[ -f "$build/build.ninja" ] || cmake --preset release >&2
ninja -C "$build" tests/bench/all >&2
programs=$build/tests/bench
if command -v cargo >/dev/null; then
    (eval "$(tests/prefix.sh)" && CARGO_TARGET_DIR=$PWD/build/rust \
        cargo build -q --release --manifest-path tests/bench/rust/Cargo.toml) >&2
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/bench.XXXXXX")
redis=
trap '[ -z "$redis" ] || kill "$redis" 2>/dev/null; rm -rf "$work"' EXIT
export TMPDIR=$work

say() { echo "bench: $*" >&2; }

# A Redis of our own: on a free port, with nothing kept, and no socket but ours.
start_redis() {
    local port
    for _ in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 20000))
        redis-server --port $port --bind 127.0.0.1 --unixsocket "$work/redis.sock" --save "" --appendonly no \
            --dir "$work" >"$work/redis.log" 2>&1 &
        redis=$!
        for _ in $(seq 50); do
            [ -S "$work/redis.sock" ] && kill -0 "$redis" 2>/dev/null && redis_port=$port && return 0
            kill -0 "$redis" 2>/dev/null || break
            sleep 0.1
        done
        kill "$redis" 2>/dev/null || true
        redis=
    done
    tail -n 5 "$work/redis.log" >&2
    return 1
}

build_gateway() { # with $go
    (
        eval "$(tests/prefix.sh)"
        cd examples/gateway
        "$go" build -buildvcs=false -o "$programs/gateway/" . ./parrot
    )
}

rows() {
    say "views and matches"
    "$programs/weft_bench_look" "${quick[@]}"
    if python3 -c 'import weft' 2>/dev/null; then
        say "views from Python"
        python3 tests/bench/python_view.py "$programs" "${quick[@]}"
    else
        say "left out: views from Python; the package is not installed (pip install ./sdk-python)"
    fi
    if command -v cargo >/dev/null; then
        say "views and loads from Rust"
        LD_LIBRARY_PATH=$build "$PWD/build/rust/release/weft-bench" "$programs" "${quick[@]}"
    else
        say "left out: views and loads from Rust; cargo is not installed"
    fi
    if go=$(cmake/go.sh) && (eval "$(tests/prefix.sh)" && "$go" build -C tests/bench/go -buildvcs=false -o "$programs/weft_bench_go"); then
        say "views and loads from Go"
        LD_LIBRARY_PATH=$build "$programs/weft_bench_go" "$programs" "${quick[@]}"
    else
        say "left out: views and loads from Go; there is no Go to build them with"
    fi
    if command -v wrk >/dev/null && go=$(cmake/go.sh) && build_gateway; then
        say "prefix look-ups of the gateway"
        LD_LIBRARY_PATH=$build python3 tests/bench/gateway.py "$build/weft" "$programs/gateway/gateway" \
            "$programs/gateway/parrot" "${quick[@]}"
    else
        say "left out: prefix look-ups of the gateway; install wrk, and Go to build it with"
    fi
    say "loads and saves"
    "$programs/weft_bench_move" "${quick[@]}"
    say "pages of a pool"
    "$programs/weft_bench_pages" "${quick[@]}"
    say "two readers"
    "$programs/weft_bench_pair" "${quick[@]}"
    say "opening, metadata, an idle node"
    "$programs/weft_bench_life" "${quick[@]}"
    if [ -x "$programs/weft_bench_redis" ] && command -v redis-server >/dev/null; then
        say "against Redis"
        start_redis
        "$programs/weft_bench_redis" "$work/redis.sock" "$redis_port" "${quick[@]}"
    else
        say "left out: Redis; install redis-server and libhiredis-dev"
    fi
}

rows >"$work/rows"
python3 tests/bench/report.py "${json[@]}" <"$work/rows"
