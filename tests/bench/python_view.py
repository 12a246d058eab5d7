"""View + release of one block of another process, from Python, at 1,000 blocks: one row.

    python3 python_view.py PROGRAMS [--quick]      PROGRAMS: the folder of weft_bench_node

Runs of 64 calls are timed together, as in look.cpp. The reference is a call into C that only looks,
weft_match of the same key through the same layer: the ratio shows what holding a view adds.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import weft

BLOCKS = 1000
BLOCK_BYTES = 256
RUN = 64
MASK = (1 << 64) - 1


def mixed(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def key_of(index: int) -> weft.Keys:
    """The key that client.cpp gives block `index`."""
    item = np.zeros(1, weft.ITEM)
    item["key_hi"] = mixed((index * 2 + 0x9E3779B97F4A7C15) & MASK)
    item["key_lo"] = mixed((index * 2 + 0x9E3779B97F4A7C16) & MASK)
    return item


def content_of(index: int) -> np.ndarray:
    words = np.arange(0, BLOCK_BYTES, 8, dtype=np.uint64)
    return (words + np.uint64(((index + 1) * 0x9E3779B97F4A7C15) & MASK)).view(np.uint8)


def measure(namespace: weft.Namespace, rounds: int) -> tuple[list[float], list[float]]:
    keys = [key_of(index) for index in range(BLOCKS)]
    for index in (0, 499, 999):
        with namespace.view(keys[index]) as view:
            assert (view.array == content_of(index)).all(), f"block {index} has other bytes"
    draw = np.random.default_rng(42)
    ours: list[float] = []
    reference: list[float] = []
    for turn in range(rounds + 20):
        chosen = [keys[index] for index in draw.integers(0, BLOCKS, RUN)]
        begin = time.perf_counter_ns()
        for key in chosen:
            namespace.match(key)
        middle = time.perf_counter_ns()
        for key in chosen:
            namespace.view(key).release()
        end = time.perf_counter_ns()
        if turn >= 20:
            reference.append((middle - begin) / RUN / 1000)
            ours.append((end - middle) / RUN / 1000)
    return ours, reference


def main() -> None:
    programs, quick = sys.argv[1], "--quick" in sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        address = f"unix:{folder}/node.sock"
        node = subprocess.Popen(
            [
                os.path.join(programs, "weft_bench_node"),
                address,
                "256MiB",
                str(BLOCKS),
                str(BLOCK_BYTES),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert node.stdin is not None and node.stdout is not None
        assert node.stdout.readline().startswith("ready"), "the node did not start"
        with weft.Store(connect=address) as store:
            namespace = store.namespace(
                "bench/model", parts=1, block_tokens=16, part_bytes=BLOCK_BYTES
            )
            ours, reference = measure(namespace, 300 if quick else 2000)
            namespace.close()
        node.stdin.close()
        assert node.wait() == 0, "the node failed"
    value = statistics.median(ours)
    beside = statistics.median(reference)
    spread = statistics.quantiles(ours, n=10)
    figure = {
        "name": "view + release, 1,000 blocks, Python",
        "value": round(value, 4),
        "unit": "us",
        "reference": round(beside, 4),
        "ratio": round(value / beside, 4),
        "target": "value <= 2",
        "met": value <= 2,
        "low": round(spread[0], 4),
        "high": round(spread[8], 4),
        "against": "a match of the same key, from Python",
    }
    print(json.dumps(figure))


main()
