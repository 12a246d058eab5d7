"""What a single put through a node in another process is spent on, beside what it is made of:

    build/peers/venv/bin/python tests/bench/peers/asking.py [--rounds N]

after tests/bench/peers/run.sh, with build/release in PATH. By turns in one process, medians in us:
a put by a node in another process; the same put with the node in this process (the copy, its
checksum and the entry, asking nobody); an op of that other node's that finds nothing to do (asking
alone); and a word to another process and back through a socket (the two wake-ups that asking is
made of, with nothing done between).
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import weft
from servers import Servers

SIZES = (4 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20)
ECHO = """import socket, sys
other = socket.socket(fileno=int(sys.argv[1]))
while word := other.recv(8):
    other.send(word)
"""


def timed(act: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    act()
    return (time.perf_counter_ns() - begin) / 1000


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=300)
    rounds = options.parse_args().rounds
    servers = Servers(memory=1 << 30, pool=0)
    ours, theirs = socket.socketpair()
    echo = [sys.executable, "-c", ECHO, str(theirs.fileno())]
    other = subprocess.Popen(echo, pass_fds=[theirs.fileno()])
    try:
        address = servers.weft()["address"]
        print("bytes | put, node in another | put, node in this | asks for nothing | word and back")
        for size in SIZES:
            print(row(address, ours, size, rounds), flush=True)
    finally:
        other.terminate()
        other.wait()
        servers.close()


def row(address: str, ours: socket.socket, size: int, rounds: int) -> str:
    with weft.Store(connect=address) as far, weft.Store(memory="1GiB", prefault="yes") as near:
        spaces = [store.namespace(f"asking/{size}", part_bytes=size) for store in (far, near)]
        keys = weft.as_keys([str(number) for number in range(2)])
        block = memoryview(bytearray(os.urandom(size)))
        acts: tuple[Callable[[], object], ...] = (
            lambda: spaces[0].save(keys[0], block),
            lambda: spaces[1].save(keys[0], block),
            lambda: spaces[0].remove(keys[1:]),
            lambda: (ours.send(b"12345678"), ours.recv(8)),
        )
        took: list[list[float]] = [[] for _ in acts]
        for turn in range(rounds + 10):
            for act, list_of in zip(acts, took, strict=True):
                us = timed(act)
                if turn >= 10:  # the first ones map and fault
                    list_of.append(us)
            for space in spaces:
                space.remove(keys[:1])
        return f"{size:>10,} | " + " | ".join(f"{statistics.median(one):.1f}" for one in took)


main()
