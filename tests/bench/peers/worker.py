"""A client of one store in a process of its own: does what compare.py asks and says how long it
took.

    worker.py MODULE CLASS      commands on standard input, answers on standard output: JSON lines

Invariants: keys and memory are made, and what was read is compared, outside the times; a wrong byte
ends the worker. Block `number` has the bytes of row `number % batch`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

import numpy as np
from system import PAGE, Bytes, System

clock = time.perf_counter_ns


class Worker:
    def __init__(self, system: System) -> None:
        self.system = system
        self.compared = 0

    def start(self, where: dict[str, Any]) -> None:
        self.system.start(where)

    def begin(self, block: int, capacity: int, batch: int, writes: bool, reads: bool) -> None:
        self.system.begin(block, capacity)
        self.batch = batch
        words = np.arange(block // 8, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self.content = words.view(np.uint8)
        if writes:
            self.rows = self.system.memory(block * batch)[: block * batch].reshape(batch, block)
            for number in range(batch):
                self.rows[number] = self.content
                self.rows[number, :PAGE:8] = number
                self.rows[number, -8] = number
        self.compared = 0
        if reads:
            self.into = self.system.memory(block * batch)[: block * batch].reshape(batch, block)

    def check(self, number: int, row: Bytes) -> None:
        """All bytes of the first few blocks, and of the others where they begin and end."""
        expected = self.content[:PAGE].copy()
        expected[::8] = number % self.batch
        right = (row[:PAGE] == expected).all() and row[-8] == number % self.batch
        if self.compared < self.batch:
            right &= bool((row[PAGE:-8] == self.content[PAGE:-8]).all())
            self.compared += 1
        if not right:
            raise RuntimeError(f"block {number} has other bytes")
        row[:8] = 255  # so that a get which brings nothing is found
        row[-8] = 255

    def put(self, first: int, count: int) -> list[int]:
        keys = self.system.keys(first, count)
        times = []
        for at in range(count):
            row = self.rows[(first + at) % self.batch]
            key = keys[at : at + 1] if isinstance(keys, np.ndarray) else keys[at]
            begun = clock()
            self.system.put(key, row)
            times.append(clock() - begun)
        return times

    def get(self, first: int, count: int) -> list[int]:
        keys = self.system.keys(first, count)
        times = []
        for at in range(count):
            row = self.into[(first + at) % self.batch]
            key = keys[at : at + 1] if isinstance(keys, np.ndarray) else keys[at]
            begun = clock()
            self.system.get(key, row)
            times.append(clock() - begun)
            self.check(first + at, row)
        return times

    def put_list(self, first: int, count: int) -> list[int]:
        """`count` blocks in batches; `first` and `count` are multiples of one."""
        times = []
        for at in range(first, first + count, self.batch):
            keys = self.system.keys(at, self.batch)
            begun = clock()
            self.system.put_list(keys, self.rows)
            times.append(clock() - begun)
        return times

    def get_list(self, first: int, count: int) -> list[int]:
        times = []
        for at in range(first, first + count, self.batch):
            keys = self.system.keys(at, self.batch)
            begun = clock()
            self.system.get_list(keys, self.into)
            times.append(clock() - begun)
            for number, row in enumerate(self.into, at):
                self.check(number, row)
        return times

    def hit(self, first: int, count: int) -> list[int]:
        keys = self.system.keys(first, count)
        times = []
        for at in range(count):
            key = keys[at : at + 1] if isinstance(keys, np.ndarray) else keys[at]
            begun = clock()
            self.system.hit(key, self.into[(first + at) % self.batch])
            times.append(clock() - begun)
        return times

    def exists(self, first: int, count: int) -> list[int]:
        """Of all `count` keys, some times over."""
        keys = self.system.keys(first, count)
        times = []
        for _ in range(20):
            begun = clock()
            found = self.system.exists(keys)
            times.append(clock() - begun)
            if found != count:
                raise RuntimeError(f"{found} of {count} keys are there")
        return times

    def remove(self, first: int, count: int) -> None:
        self.system.remove(self.system.keys(first, count))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print there
    worker = Worker(getattr(importlib.import_module(sys.argv[1]), sys.argv[2])())
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(worker, command.pop("do"))(**command)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
