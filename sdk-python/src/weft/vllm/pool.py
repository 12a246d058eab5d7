"""The worker's KV memory as Weft's ops see it: pages of layers, at addresses of their own.

A page of a layer is one run of bytes (or two, where keys and values lie apart); its address is
base + block id * stride. Saves and loads are list ops, one for each run, on the region that is all
of this process. Invariants: the items of an op live until its event has been reaped, and so must
the pages; a transfer is finished when all its ops are. Threads: one.

This is the one module that knows how bytes get in and out; a pool of the library replaces it."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import lowlevel as low
from ..errors import AgainError, Error
from ..keys import EVENT, OP, Keys
from .groups import Shape, UnsupportedError
from .meta import Blocks, Transfer

if TYPE_CHECKING:
    import torch

    from .link import Opened

_DEPTH = 4096  # ops taken and not yet reaped; more wait in _late
TIMEOUT_MS = 20_000  # of a load or a save


class Run(NamedTuple):
    """Bytes of a layer's page: in vLLM's memory at base + block * stride, in the part at
    start."""

    layer: str
    start: int
    base: int
    stride: int
    size: int


@dataclasses.dataclass(eq=False)
class Work:
    """A transfer under way. left: ops not yet ended. done: for each of its block lists how many
    lead blocks are done in every layer. error: the first op's, by code, that was no miss."""

    transfer: Transfer
    saving: bool
    left: int
    done: list[int]
    begun: float
    tags: list[int]
    error: int = 0
    retried: bool = False

    @property
    def whole(self) -> bool:
        """Whether all its blocks are done."""
        return self.done == [len(one.items) for one in self.transfer.blocks]

    def undone(self) -> set[int]:
        """The ids of the blocks that are not done, in order of the first such one on."""
        return {
            int(at)
            for blocks, done in zip(self.transfer.blocks, self.done, strict=True)
            for at in blocks.items["offset"][done:]
        }


class _Op(NamedTuple):
    work: Work
    at: int  # which of the transfer's block lists
    layer: str
    items: Keys


def runs_of(name: str, tensor: torch.Tensor, blocks: int, page: int, start: int) -> list[Run]:
    """Where a layer's pages lie. Errors: UnsupportedError, naming shape and strides."""
    shape, strides = tuple(tensor.shape), tuple(tensor.stride())
    wide = tensor.element_size()
    words = f"layer {name}: a KV cache of shape {shape}, strides {strides} and {blocks} blocks"
    if tensor.device.type != "cpu":
        raise UnsupportedError(f"{words} on {tensor.device}: this build copies host memory only")
    base = tensor.data_ptr()
    halves = 1
    if shape[0] % blocks:
        if len(shape) < 2 or shape[0] != 2 or shape[1] % blocks:
            raise UnsupportedError(words)
        halves, shape, strides = 2, shape[1:], strides[1:]
    per_block = shape[0] // blocks  # of the kernel's blocks, where they are smaller
    one = tensor[0] if halves == 1 else tensor[0, 0]
    size = one.numel() * wide * per_block
    if not one.is_contiguous() or (per_block > 1 and strides[0] * wide * per_block != size):
        raise UnsupportedError(words)
    if size * halves != page:
        raise UnsupportedError(f"{words}: {size * halves} bytes a block, where vLLM says {page}")
    apart = tensor.stride(0) * wide
    return [
        Run(name, start + half * size, base + half * apart, strides[0] * wide * per_block, size)
        for half in range(halves)
    ]


class Pool:
    """The pages of one rank."""

    def __init__(self, shape: Shape, tensors: Mapping[str, Any], blocks: int, part: int) -> None:
        self._part = part
        self.block_bytes: list[int] = []
        self._runs: list[list[Run]] = []
        for group in shape.groups:
            start, runs = 0, []
            for layer, page in zip(group.layers, group.pages, strict=True):
                if layer not in tensors:
                    raise UnsupportedError(f"layer {layer} of group {group.index} has no KV cache")
                runs += runs_of(layer, tensors[layer], blocks, page, start)
                start += page
            self._runs.append(runs)
            self.block_bytes.append(sum(run.size for run in runs))
        self._tensors = dict(tensors)  # the addresses are theirs
        self._queue: Any = None
        self._events = np.zeros(256, EVENT)
        self._ops: dict[int, _Op] = {}
        self._late: deque[Any] = deque()
        self._tag = 0

    @property
    def busy(self) -> int:
        """Ops that have not ended."""
        return len(self._ops)

    def begin(self, opened: Opened, transfer: Transfer, saving: bool) -> Work:
        """Starts to save or load blocks. Errors: Error where the store takes none."""
        if self._queue is None:
            self._queue = opened.store.queue(depth=_DEPTH)
        now = time.monotonic()
        done = [len(blocks.items) for blocks in transfer.blocks]
        work = Work(transfer, saving, 0, done, now, [])
        for at in range(len(transfer.blocks)):
            self._list(opened, work, at, 0, chain=True)
        self._submit()
        return work

    def again(self, opened: Opened, work: Work) -> None:
        """Saves once more what a save left undone, each block for itself: another engine was
        writing some of them."""
        work.retried, work.error = True, 0
        undone = work.done
        work.done = [len(blocks.items) for blocks in work.transfer.blocks]
        for at, first in enumerate(undone):
            if first < work.done[at]:
                self._list(opened, work, at, first, chain=False)
        self._submit()

    def _list(self, opened: Opened, work: Work, at: int, first: int, *, chain: bool) -> None:
        blocks: Blocks = work.transfer.blocks[at]
        flags = low.WEFT_LIST | (low.WEFT_CHAIN if chain else 0)
        if blocks.parent and chain:
            flags |= low.WEFT_PARENT
        ids = blocks.items["offset"][first:]
        runs = self._runs[blocks.group]
        ops = np.zeros(len(runs), OP)
        for place, run in enumerate(runs):
            items = blocks.items[first:].copy()
            items["offset"] = np.uint64(run.base) + ids * np.uint64(run.stride)
            items["size"] = run.size
            self._tag += 1
            ops[place] = (
                *(self._tag, len(items), opened.store.all_memory, low.address(items, False)[0]),
                *(0, run.start, opened.spaces[blocks.group].space, opened.store.all_memory),
                *(TIMEOUT_MS, 0, flags, low.WEFT_OP_SAVE if work.saving else low.WEFT_OP_LOAD),
                self._part,
            )
            self._ops[self._tag] = _Op(work, at, run.layer, items)
            work.tags.append(self._tag)
        work.left += len(runs)
        self._late.append(ops)

    def _submit(self) -> None:
        while self._late:
            try:
                taken = self._queue.submit(self._late[0])
            except AgainError:
                return
            if taken < len(self._late[0]):
                self._late[0] = self._late[0][taken:]
                return
            self._late.popleft()

    def reap(self, timeout_ms: int = 0) -> list[Work]:
        """The transfers that have ended since, waiting for at most `timeout_ms` where nothing
        has."""
        if not self._ops:
            return []
        finished = []
        count = self._queue.reap(self._events, timeout_ms)
        for tag, value, _, status, _ in self._events[:count].tolist():
            op = self._ops.pop(tag, None)
            if op is None:
                continue  # a CANCEL's own
            work = op.work
            work.left -= 1
            if status < 0 and not (work.saving and status == -low.WEFT_EEXISTS):
                first = len(work.transfer.blocks[op.at].items) - len(op.items)
                work.done[op.at] = min(work.done[op.at], first + value)
                if status != -low.WEFT_EMISS:
                    work.error = work.error or -status
            if not work.left:
                finished.append(work)
        self._submit()
        return finished

    def layer_pending(self, layer: str, works: list[Work]) -> bool:
        """Whether some of these still lack bytes of `layer`."""
        return any(
            self._ops[tag].layer == layer
            for work in works
            if work.left
            for tag in work.tags
            if tag in self._ops
        )

    def cancel(self, work: Work) -> None:
        """Asks to end a transfer soon; it still ends by reap."""
        ops = np.zeros(len(work.tags), OP)
        ops["kind"], ops["offset"] = low.WEFT_OP_CANCEL, work.tags
        ops["tag"] = 0
        try:
            self._queue.submit(ops)
        except Error:
            return

    def close(self) -> None:
        """Ends what is under way; from then on nothing touches the pages."""
        if self._queue is not None:
            self._queue.close()
            self._queue = None
        self._ops.clear()
