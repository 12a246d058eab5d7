"""Redis and memcached, by bare clients of their protocols, which receive in place: faster than the
clients that they are used by (redis-py, hiredis, pymemcache copy once more).

Redis 7: nothing kept on disk, frees in the background. memcached 1.6: two threads, items of up to
32 MiB, meta commands. Batches are pipelined.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from system import Bytes, Rows, System

SCRATCH = 4096  # what is received at most with the line before a block
SENDS = 512  # buffers of one sendmsg


class Socket(System):
    def start(self, where: dict[str, Any]) -> None:
        address = where["address"]
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket(socket.AF_INET)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            address = ("127.0.0.1", address)
        self.socket.connect(address)
        self.room = bytearray(SCRATCH)
        self.view = memoryview(self.room)
        self.have = b""  # received, and not yet asked for

    def keys(self, first: int, count: int) -> list[bytes]:
        return [b"block:%d" % number for number in range(first, first + count)]

    def send(self, buffers: list[Any]) -> None:
        for at in range(0, len(buffers), SENDS):
            rest = [memoryview(one).cast("B") for one in buffers[at : at + SENDS]]
            while rest:
                sent = self.socket.sendmsg(rest)
                while rest and sent >= len(rest[0]):
                    sent -= len(rest[0])
                    rest.pop(0)
                if sent:
                    rest[0] = rest[0][sent:]

    def line(self) -> bytes:
        while (end := self.have.find(b"\r\n")) < 0:
            got = self.socket.recv_into(self.room)
            if got == 0:
                raise RuntimeError("the server has closed")
            self.have += bytes(self.view[:got])
        line, self.have = self.have[:end], self.have[end + 2 :]
        return line

    def receive(self, row: Bytes) -> None:
        """The bytes of a block, behind its line, and the end of the line behind them."""
        into = memoryview(row)
        at = min(len(self.have), len(into))
        into[:at] = self.have[:at]
        self.have = self.have[at:]
        while at < len(into):
            got = self.socket.recv_into(into[at:])
            if got == 0:
                raise RuntimeError("the server has closed")
            at += got
        if self.line() != b"":
            raise RuntimeError("a block is longer than it should be")


class Redis(Socket):
    def put(self, key: bytes, row: Bytes) -> None:
        self.put_list([key], row.reshape(1, -1))

    def put_list(self, keys: Sequence[bytes], rows: Rows) -> None:
        words: list[Any] = []
        for key, row in zip(keys, rows, strict=True):
            words += [b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n" % (len(key), key, len(row)), row]
            words.append(b"\r\n")
        self.send(words)
        for _ in keys:
            if self.line() != b"+OK":
                raise RuntimeError("redis did not set")

    def get(self, key: bytes, row: Bytes) -> None:
        self.get_list([key], row.reshape(1, -1))

    def get_list(self, keys: Sequence[bytes], rows: Rows) -> None:
        self.send([b"".join(b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key) for key in keys)])
        for row in rows[: len(keys)]:
            if self.line() != b"$%d" % len(row):
                raise RuntimeError("redis has no such block")
            self.receive(row)

    def command(self, name: bytes, keys: Sequence[bytes]) -> int:
        words = [b"*%d\r\n$%d\r\n%b\r\n" % (len(keys) + 1, len(name), name)]
        self.send([b"".join(words + [b"$%d\r\n%b\r\n" % (len(key), key) for key in keys])])
        return int(self.line()[1:])

    def exists(self, keys: Sequence[bytes]) -> int:
        return self.command(b"EXISTS", keys)

    def remove(self, keys: Sequence[bytes]) -> None:
        self.command(b"DEL", keys)


class Memcached(Socket):
    def put(self, key: bytes, row: Bytes) -> None:
        self.put_list([key], row.reshape(1, -1))

    def put_list(self, keys: Sequence[bytes], rows: Rows) -> None:
        words: list[Any] = []
        for key, row in zip(keys, rows, strict=True):
            words += [b"ms %b %d\r\n" % (key, len(row)), row, b"\r\n"]
        self.send(words)
        for _ in keys:
            if (said := self.line()) != b"HD":
                raise RuntimeError(f"memcached did not set: {said!r}")

    def get(self, key: bytes, row: Bytes) -> None:
        self.get_list([key], row.reshape(1, -1))

    def get_list(self, keys: Sequence[bytes], rows: Rows) -> None:
        self.send([b"".join(b"mg %b v\r\n" % key for key in keys)])
        for row in rows[: len(keys)]:
            if (said := self.line()) != b"VA %d" % len(row):
                raise RuntimeError(f"memcached has no such block: {said!r}")
            self.receive(row)

    def exists(self, keys: Sequence[bytes]) -> int:
        self.send([b"".join(b"mg %b\r\n" % key for key in keys)])
        return sum(self.line() == b"HD" for _ in keys)

    def remove(self, keys: Sequence[bytes]) -> None:
        self.send([b"".join(b"md %b\r\n" % key for key in keys)])
        for _ in keys:
            self.line()
