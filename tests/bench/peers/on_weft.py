"""Weft, as its users in Python have it: weft-kv over a node in a process of its own, or with the
node in the caller's process, which other processes reach all the same.

`weft serve --memory N --prefault`, or memory=N,prefault=yes,listen=; a namespace of fixed blocks. A
save copies and checksums; a load copies; a view moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import weft
from system import Bytes, Rows, System


class Client(System):
    def start(self, where: dict[str, Any]) -> None:
        self.store = weft.Store(connect=where["address"])

    def begin(self, block: int, capacity: int) -> None:
        super().begin(block, capacity)
        self.space = self.store.namespace(f"bench/{block}", part_bytes=block)

    def keys(self, first: int, count: int) -> weft.Keys:
        names = [str(number) for number in range(first, first + count)]
        return weft.as_keys(names)

    def put(self, key: Any, row: Bytes) -> None:
        if not self.space.save(key, row):
            raise RuntimeError("a block was there already")

    def get(self, key: Any, row: Bytes) -> None:
        if self.space.load(key, row) is None:
            raise RuntimeError("a block is not there")

    def put_list(self, keys: Sequence[Any], rows: Rows) -> None:
        if self.space.save_list(keys, rows, chain=False) != len(keys):
            raise RuntimeError("a block was there already")

    def get_list(self, keys: Sequence[Any], rows: Rows) -> None:
        if self.space.load_list(keys, rows, chain=False) != len(keys):
            raise RuntimeError("a block is not there")

    def exists(self, keys: Sequence[Any]) -> int:
        return self.space.match(keys)

    def remove(self, keys: Sequence[Any]) -> None:
        self.space.remove(keys)

    def hit(self, key: Any, row: Bytes) -> None:
        view = self.space.view(key)
        if view is None:
            raise RuntimeError("a block is not there")
        view.release()


class Own(Client):
    def start(self, where: dict[str, Any]) -> None:
        self.store = weft.Store(memory=where["memory"], prefault="yes", listen=where["address"])
