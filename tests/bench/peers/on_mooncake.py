"""Mooncake Store 0.3.13 by its Python client, with the calls that copy least: put_from and
get_into of registered memory, and their batches.

Tcp: the segment is mooncake_client's, in a process of its own (MC_STORE_MEMCPY=0, without which a
client on the same host could copy instead). Shared: the same owner, asked by a dummy client with
its memory pool in shared memory. Own: the segment is in the caller's own process.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from system import Bytes, Rows, System

os.environ.setdefault("GLOG_minloglevel", "2")
LOCAL = 64 << 20  # the client's own buffer, for calls that are not made here


class Mooncake(System):
    def __init__(self) -> None:
        from mooncake.store import MooncakeDistributedStore

        self.store = MooncakeDistributedStore()

    def setup(self, where: dict[str, Any], segment: int) -> None:
        status = self.store.setup(
            "127.0.0.1", "P2PHANDSHAKE", segment, LOCAL, "tcp", "", where["master"]
        )
        if status != 0:
            raise RuntimeError(f"mooncake's setup says {status}")

    def memory(self, size: int) -> Bytes:
        room = super().memory(size)
        self.store.register_buffer(room.ctypes.data, size)
        return room

    def keys(self, first: int, count: int) -> list[str]:
        return [f"block:{number}" for number in range(first, first + count)]

    def put(self, key: str, row: Bytes) -> None:
        if (status := self.store.put_from(key, row.ctypes.data, len(row))) != 0:
            raise RuntimeError(f"mooncake's put_from says {status}")

    def get(self, key: str, row: Bytes) -> None:
        if (status := self.store.get_into(key, row.ctypes.data, len(row))) != len(row):
            raise RuntimeError(f"mooncake's get_into says {status}")

    @staticmethod
    def places(rows: Rows) -> tuple[list[int], list[int]]:
        count, size = rows.shape
        first = rows.ctypes.data
        return [first + at * size for at in range(count)], [size] * count

    def put_list(self, keys: Sequence[str], rows: Rows) -> None:
        if any(self.store.batch_put_from(list(keys), *self.places(rows))):
            raise RuntimeError("mooncake did not put a block")

    def get_list(self, keys: Sequence[str], rows: Rows) -> None:
        if min(self.store.batch_get_into(list(keys), *self.places(rows))) < rows.shape[1]:
            raise RuntimeError("mooncake did not get a block")

    def exists(self, keys: Sequence[str]) -> int:
        return self.store.batch_is_exist(keys).count(1)

    def remove(self, keys: Sequence[str]) -> None:
        self.store.batch_remove(list(keys), True)


class Tcp(Mooncake):
    def start(self, where: dict[str, Any]) -> None:
        os.environ["MC_STORE_MEMCPY"] = "0"
        self.setup(where, 0)


class Own(Mooncake):
    def start(self, where: dict[str, Any]) -> None:
        self.setup(where, where["memory"])


class Shared(Mooncake):
    def start(self, where: dict[str, Any]) -> None:
        status = self.store.setup_dummy(where["pool"], LOCAL, where["client"])
        if status != 0:
            raise RuntimeError(f"mooncake's setup_dummy says {status}")
        self.rooms: dict[int, Bytes] = {}

    def memory(self, size: int) -> Bytes:
        """Of the pool, which cannot be given back: what was taken serves again."""
        if size not in self.rooms:
            address = self.store.alloc_from_mem_pool(size)
            if address == 0 or self.store.register_buffer(address, size) != 0:
                raise RuntimeError(f"mooncake's pool has no {size} bytes")
            kind = ctypes.c_uint8 * size
            self.rooms[size] = np.ctypeslib.as_array(kind.from_address(address))
            self.rooms[size][:] = 1
        return self.rooms[size]
