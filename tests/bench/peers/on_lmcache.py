"""LMCache 0.5.6: its LocalCPU backend, which is in its caller's process, and the native file system
client that its fs_native tier is made of, on a tmpfs.

LocalCPU passes references: a put is an allocation and a copy into it, a get is a look-up and a
copy out of it, both by torch, as LMCache's own connectors do on a CPU: with torch's default of a
thread for each processor, and once more with one. The file system client gets batches of keys and
buffers, with as many workers as there are processors.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Sequence
from typing import Any

from system import Bytes, Rows, System

os.environ.setdefault("LMCACHE_LOG_LEVEL", "ERROR")
os.environ.setdefault("LMCACHE_TRACK_USAGE", "false")


class LocalCpu(System):
    def start(self, where: dict[str, Any]) -> None:
        import torch
        from lmcache.utils import CacheEngineKey
        from lmcache.v1.config import LMCacheEngineConfig
        from lmcache.v1.memory_allocators.mixed_memory_allocator import MixedMemoryAllocator
        from lmcache.v1.memory_management import MemoryFormat
        from lmcache.v1.storage_backend.local_cpu_backend import LocalCPUBackend

        logging.disable(logging.WARNING)
        self.torch, self.key, self.format = torch, CacheEngineKey, MemoryFormat.KV_2LTD
        config = LMCacheEngineConfig.from_defaults(local_cpu=True)
        allocator = MixedMemoryAllocator(where["memory"])
        self.backend = LocalCPUBackend(config, None, "cpu", None, allocator)

    def begin(self, block: int, capacity: int) -> None:
        super().begin(block, capacity)
        self.shape = self.torch.Size([block])

    def keys(self, first: int, count: int) -> list[Any]:
        kind = self.torch.uint8
        return [self.key("bench", 1, 0, number, kind) for number in range(first, first + count)]

    def put(self, key: Any, row: Bytes) -> None:
        room = self.backend.allocate(self.shape, self.torch.uint8, self.format)
        room.tensor.copy_(self.torch.from_numpy(row))
        self.backend.submit_put_task(key, room)
        room.ref_count_down()

    def get(self, key: Any, row: Bytes) -> None:
        room = self.backend.get_blocking(key)
        self.torch.from_numpy(row).copy_(room.tensor)
        room.ref_count_down()

    def put_list(self, keys: Sequence[Any], rows: Rows) -> None:
        kind = self.torch.uint8
        rooms = self.backend.batched_allocate(self.shape, kind, len(keys), self.format)
        for room, row in zip(rooms, rows, strict=True):
            room.tensor.copy_(self.torch.from_numpy(row))
        self.backend.batched_submit_put_task(keys, rooms)
        for room in rooms:
            room.ref_count_down()

    def get_list(self, keys: Sequence[Any], rows: Rows) -> None:
        for key, row in zip(keys, rows, strict=True):
            self.get(key, row)

    def exists(self, keys: Sequence[Any]) -> int:
        return sum(map(self.backend.contains, keys))

    def remove(self, keys: Sequence[Any]) -> None:
        for key in keys:
            self.backend.remove(key)

    def hit(self, key: Any, row: Bytes) -> None:
        self.backend.get_blocking(key).ref_count_down()


class LocalCpuOneThread(LocalCpu):
    """Torch copies on the caller's thread alone: where the machine is not quiet, copies of several
    threads wait for the one that has no processor."""

    def start(self, where: dict[str, Any]) -> None:
        super().start(where)
        self.torch.set_num_threads(1)


class Files(System):
    def start(self, where: dict[str, Any]) -> None:
        from lmcache.lmcache_fs import LMCacheFSClient

        workers = os.cpu_count() or 1
        self.client = LMCacheFSClient(where["folder"], workers, "", False, 0)
        self.poll = select.poll()
        self.poll.register(self.client.event_fd(), select.POLLIN)

    def keys(self, first: int, count: int) -> list[str]:
        return [f"bench@00000000@0@{number:016x}" for number in range(first, first + count)]

    def done(self, task: int) -> list[bool] | None:
        while True:
            self.poll.poll()
            for number, good, words, each in self.client.drain_completions():
                if number == task:
                    if not good:
                        raise RuntimeError(f"lmcache's file system client: {words}")
                    return each

    def put(self, key: str, row: Bytes) -> None:
        self.done(self.client.submit_batch_set([key], [memoryview(row)]))

    def get(self, key: str, row: Bytes) -> None:
        self.done(self.client.submit_batch_get([key], [memoryview(row)]))

    def put_list(self, keys: Sequence[str], rows: Rows) -> None:
        self.done(self.client.submit_batch_set(list(keys), [memoryview(row) for row in rows]))

    def get_list(self, keys: Sequence[str], rows: Rows) -> None:
        self.done(self.client.submit_batch_get(list(keys), [memoryview(row) for row in rows]))

    def exists(self, keys: Sequence[str]) -> int:
        return sum(self.done(self.client.submit_batch_exists(list(keys))) or [])

    def remove(self, keys: Sequence[str]) -> None:
        self.done(self.client.submit_batch_delete(list(keys)))
