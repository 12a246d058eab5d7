"""Weft beside its peers: the same work, in turns, each client and each server a process of its own.

    compare.py [--quick] [NAME...]      NAME: only peers whose name has it in it

For each peer and each size of blocks a writer puts blocks and a reader, another process, gets
them: single ones and batches of 32, into and out of their own memory. Then: which of 1,000 keys
are there, and what a hit costs the reader until the bytes can be read. A peer that lives in its
caller's process, which no other process reaches, has one process for both; Weft is beside it twice:
with its node in the caller's process, and with three processes as beside the others.

Invariants: a row is Weft's and its peer's medians of one run, in bursts by turns, the first of
which is thrown away; all memory has been touched before; a peer that cannot be had is named and
left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from servers import Servers

HERE = os.path.dirname(os.path.abspath(__file__))
KiB, MiB = 1 << 10, 1 << 20
BATCH = 32
BURST_NS = 60_000_000
PAUSE_S = 0.005  # between bursts: threads that spin for their next work have given up by then


@dataclass(frozen=True)
class Scale:
    sizes: tuple[int, ...]
    alive: int  # bytes of blocks that are there at once, where that is more than three batches
    seconds: float  # of each of the two, in each row
    small: int = 4 * KiB  # blocks of the row of exists

    def capacity(self, block: int) -> int:
        return max(3 * BATCH, self.alive // block // BATCH * BATCH)

    def memory(self) -> int:
        blocks = max(self.capacity(block) * block for block in self.sizes)
        return max(512 * MiB, blocks * 5 // 4 + 64 * MiB)

    def pool(self) -> int:
        return sum(BATCH * block for block in self.sizes) + BATCH * self.small + 64 * MiB


FULL = Scale((256 * KiB, MiB, 4 * MiB, 16 * MiB), 256 * MiB, 0.6)
QUICK = Scale((256 * KiB, MiB), 64 * MiB, 0.1)


@dataclass(frozen=True)
class Peer:
    name: str
    module: str
    kind: str
    server: str  # of Servers
    own_process: bool = False  # the store lives in its caller's process


WEFT = Peer("Weft", "on_weft", "Client", "weft")
WEFT_OWN = Peer("Weft", "on_weft", "Own", "weft_own", True)
PEERS = [
    Peer("Redis, TCP", "on_sockets", "Redis", "redis_tcp"),
    Peer("Redis, UNIX socket", "on_sockets", "Redis", "redis_unix"),
    Peer("memcached, TCP", "on_sockets", "Memcached", "memcached_tcp"),
    Peer("memcached, UNIX socket", "on_sockets", "Memcached", "memcached_unix"),
    Peer("Mooncake, TCP", "on_mooncake", "Tcp", "mooncake"),
    Peer("Mooncake, shared memory", "on_mooncake", "Shared", "mooncake"),
    Peer("Mooncake, in process", "on_mooncake", "Own", "mooncake_own", True),
    Peer("LMCache LocalCPU, in process", "on_lmcache", "LocalCpu", "lmcache_cpu", True),
    Peer("LMCache LocalCPU, one thread", "on_lmcache", "LocalCpuOneThread", "lmcache_cpu", True),
    Peer("LMCache fs_native, tmpfs", "on_lmcache", "Files", "lmcache_files"),
]


class Process:
    """A worker."""

    def __init__(self, peer: Peer, where: dict[str, Any]) -> None:
        self.errors = tempfile.TemporaryFile()
        command = [sys.executable, os.path.join(HERE, "worker.py"), peer.module, peer.kind]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.name = peer.name
        self.do("start", where=where)

    def do(self, what: str, **more: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.errors.seek(0)
            said = self.errors.read().decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"{self.name}: {what} failed: " + " | ".join(said[-3:]))
        return json.loads(line)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.errors.close()


class Side:
    """One of the two: its server, its writer and its reader, and which blocks are there."""

    def __init__(self, peer: Peer, scale: Scale) -> None:
        self.processes: list[Process] = []
        self.servers = Servers(scale.memory(), scale.pool())
        try:
            where = getattr(self.servers, peer.server)()
            self.writer = self.process(peer, where)
            self.reader = self.writer if peer.own_process else self.process(peer, where)
        except BaseException:
            self.close()
            raise
        self.next = 0

    def process(self, peer: Peer, where: dict[str, Any]) -> Process:
        self.processes.append(Process(peer, where))
        return self.processes[-1]

    def begin(self, block: int, capacity: int) -> None:
        if self.next != 0:
            self.writer.do("remove", first=self.first, count=self.next - self.first)
        one = self.writer is self.reader
        told = {"block": block, "capacity": capacity, "batch": BATCH}
        self.writer.do("begin", **told, writes=True, reads=one)
        if not one:
            self.reader.do("begin", **told, writes=False, reads=True)
        self.capacity = capacity
        # Never numbers that were there before: of another size they may still be known.
        self.first = self.next = (self.next // BATCH + 1) * BATCH
        self.at = 0

    def run(self, what: str, count: int) -> list[int]:
        """Times of single calls, or of batches, for `count` blocks."""
        if what == "put_list" and self.next % BATCH != 0:
            self.run("put", -self.next % BATCH)
        if what.startswith("put"):
            over = self.next + count - self.first - self.capacity
            if over > 0:
                self.writer.do("remove", first=self.first, count=over)
                self.first += over
            self.next += count
            return self.writer.do(what, first=self.next - count, count=count)
        if self.at + count > self.next - self.first:
            self.at = 0
        self.at += count
        return self.reader.do(what, first=self.first + self.at - count, count=count)

    def fill(self) -> None:
        """Each byte of the pool once, so that none is new in what is measured."""
        for _ in range(0, self.capacity + BATCH, BATCH):
            self.run("put", BATCH)

    def close(self) -> None:
        for process in self.processes:
            process.close()
        self.servers.close()


def burst(side: Side, what: str, step: int, some: list[int]) -> list[int]:
    """As many calls as take BURST_NS, by what some of them took."""
    time.sleep(PAUSE_S)
    calls = max(1, int(BURST_NS / statistics.median(some)))
    return side.run(what, min(calls * step, side.capacity // 2 // step * step))


def turns(ours: Side, theirs: Side, what: str, seconds: float) -> tuple[list[int], list[int]]:
    step = BATCH if what.endswith("_list") else 1
    warm = (theirs.run(what, step), ours.run(what, step))
    samples: tuple[list[int], list[int]] = ([], [])
    while not samples[0] or sum(map(sum, samples)) < 2 * seconds * 1e9:
        samples[1].extend(burst(theirs, what, step, samples[1] or warm[0]))
        samples[0].extend(burst(ours, what, step, samples[0] or warm[1]))
    return samples


def size_name(block: int) -> str:
    return f"{block // MiB} MiB" if block >= MiB else f"{block // KiB} KiB"


def quantile(times: list[int], part: float) -> float:
    return sorted(times)[int(part * (len(times) - 1) + 0.5)]


def row(name: str, samples: tuple[list[int], list[int]], unit: str, of: float, words: str) -> None:
    """of: bytes a call for GB/s, or 1,000 for us. Weft is ahead where it is at least as good."""
    rate = unit == "GB/s"
    low, value, high = (quantile(samples[0], part) for part in (0.1, 0.5, 0.9))
    reference = quantile(samples[1], 0.5)
    if rate:
        low, value, high, reference = (of / time for time in (high, value, low, reference))
    else:
        low, value, high, reference = (time / of for time in (low, value, high, reference))
    print_row(name, unit, (low, value, high), reference, rate, words)


def print_row(
    name: str, unit: str, values: tuple[float, float, float], other: float, more: bool, words: str
) -> None:
    ratio = values[1] / other
    figure = {
        "name": name,
        "value": round(values[1], 4),
        "unit": unit,
        "reference": round(other, 4),
        "ratio": round(ratio, 4),
        "target": "ratio >= 1" if more else "ratio <= 1",
        "met": ratio >= 1 if more else ratio <= 1,
        "low": round(values[0], 4),
        "high": round(values[2], 4),
        "against": words,
    }
    print(json.dumps(figure), flush=True)


def compare_size(ours: Side, theirs: Side, name: str, block: int, scale: Scale) -> None:
    for side in (theirs, ours):
        side.begin(block, scale.capacity(block))
        side.fill()
    for what, words in (
        ("put", "put"),
        ("get", "get"),
        ("put_list", "put, batch of 32,"),
        ("get_list", "get, batch of 32,"),
    ):
        samples = turns(ours, theirs, what, scale.seconds)
        step = BATCH if what.endswith("_list") else 1
        of = f"{words} {size_name(block)}, {name}"
        row(of, samples, "GB/s", block * step, name)
        if step == 1:
            tails = [quantile(times, 0.99) / 1000 for times in samples]
            count = f"{len(samples[0])} and {len(samples[1])} calls"
            words99 = f"{name}, {count}"
            print_row(f"{of}, p99", "us", (tails[0],) * 3, tails[1], False, words99)


def compare(peer: Peer, weft: Peer, scale: Scale) -> None:
    name = peer.name
    if peer.own_process and not weft.own_process:
        name += ", Weft's node in another"
    say(name)
    theirs = Side(peer, scale)
    try:
        # One of Weft's for each size: a node is made for its blocks.
        for block in scale.sizes:
            with contextlib.closing(Side(weft, scale)) as ours:
                compare_size(ours, theirs, name, block, scale)
                if block == MiB:
                    hits = turns(ours, theirs, "hit", scale.seconds / 2)
                    by = "in its own process" if peer.own_process else "by a second process"
                    row(f"hit of 1 MiB, readable, {name}", hits, "us", 1000, by)
        with contextlib.closing(Side(weft, scale)) as ours:
            for side in (theirs, ours):
                side.begin(scale.small, 1024)
                side.run("put", 1000)
            samples: tuple[list[int], list[int]] = ([], [])
            for turn in range(6):
                for side, times in ((theirs, samples[1]), (ours, samples[0])):
                    side.at = 0
                    took = side.run("exists", 1000)
                    times.extend(took if turn else [])
            row(f"exists of 1,000 keys, {name}", samples, "us", 1000, name)
    finally:
        theirs.close()


def say(words: str) -> None:
    print(f"peers: {words}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    scale = QUICK if "--quick" in arguments else FULL
    names = [argument for argument in arguments if argument != "--quick"]
    absent = tuple(os.environ.get("PEERS_ABSENT", "").split())
    failed = 0
    for peer in PEERS:
        if names and not any(name.lower() in peer.name.lower() for name in names):
            continue
        if peer.name.startswith(absent):
            say(f"left out: {peer.name}: it could not be installed")
            continue
        try:
            for weft in (WEFT_OWN, WEFT) if peer.own_process else (WEFT,):
                compare(peer, weft, scale)
        except (RuntimeError, OSError) as error:
            say(f"left out from here on: {peer.name}: {error}")
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
