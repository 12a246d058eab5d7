"""The worker's KV memory as Weft's ops see it: a pool of the library for each KV group.

A page is what a block id names: of each layer one run of bytes, or two where keys and values lie
apart. The library is told once where they are; ops then name blocks by their ids, all layers in one
op (of loads that layers wait for one by one, and of saves that follow the forward pass: an op a
layer). What is in a page is the attention
backend's own, so pages have one head and one token, and are copied as they are.

Invariants: the items of an op live until its event has been reaped, and so must the pages; a
transfer is finished when all its ops are. Threads: one."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import lowlevel as low
from ..errors import AgainError, Error
from ..keys import EVENT, OP, Keys
from ..pool import Pool as StorePool
from .groups import Group, Shape, UnsupportedError
from .meta import Transfer

if TYPE_CHECKING:
    import torch

    from .link import Opened

_DEPTH = 4096  # ops taken and not yet reaped; more wait in _late
TIMEOUT_MS = 20_000  # of a load or a save


class Pages(NamedTuple):
    """Where a layer's pages are: an address for each tensor, bytes between pages, bytes of one."""

    bases: tuple[int, ...]
    stride: int
    size: int


@dataclasses.dataclass(eq=False)
class Work:
    """A transfer under way. left: ops not yet ended, those of later layers too. done: for each of
    its block lists how many lead blocks are done in every layer. error: the first op's, by code,
    that was no miss. later: layers whose save is still to be started."""

    opened: Opened

    transfer: Transfer
    saving: bool
    left: int
    done: list[int]
    begun: float
    tags: list[int]
    error: int = 0
    retried: bool = False
    canceled: bool = False
    by_layer: bool = False
    later: set[str] = dataclasses.field(default_factory=set)

    @property
    def whole(self) -> bool:
        """Whether all its blocks are done."""
        return self.done == [len(one.items) for one in self.transfer.blocks]

    def undone(self) -> set[int]:
        """The ids of the blocks from the first on that is not done."""
        return {
            int(at)
            for blocks, done in zip(self.transfer.blocks, self.done, strict=True)
            for at in blocks.items["offset"][done:]
        }


class _Op(NamedTuple):
    work: Work | None  # None: of nobody who waits
    at: int  # which of the transfer's block lists
    layer: str  # "": all of them
    items: Keys


def pages_of(name: str, tensor: torch.Tensor, blocks: int, page: int) -> Pages:
    """Where a layer's pages are. Errors: UnsupportedError, naming shape and strides."""
    shape, strides = tuple(tensor.shape), tuple(tensor.stride())
    wide = tensor.element_size()
    words = f"layer {name}: a KV cache of shape {shape}, strides {strides} and {blocks} blocks"
    if tensor.device.type != "cpu":
        raise UnsupportedError(f"{words} on {tensor.device}: this build copies host memory only")
    bases = [tensor.data_ptr()]
    if shape[0] % blocks:
        if len(shape) < 2 or shape[0] != 2 or shape[1] % blocks:
            raise UnsupportedError(words)
        bases.append(bases[0] + strides[0] * wide)
        tensor, shape, strides = tensor[0], shape[1:], strides[1:]
    per_block = shape[0] // blocks  # of the kernel's blocks, where they are smaller
    size = tensor[0].numel() * wide * per_block
    stride = strides[0] * wide * per_block
    if not tensor[0].is_contiguous() or (per_block > 1 and stride != size):
        raise UnsupportedError(words)
    if size * len(bases) != page:
        raise UnsupportedError(f"{words}: {size * len(bases)} bytes a block, not vLLM's {page}")
    return Pages(tuple(bases), stride, size)


def describe(group: Group, tensors: Mapping[str, Any], blocks: int) -> dict[str, Any]:
    """Store.pool's arguments for a group. Errors: UnsupportedError."""
    layers = []
    for layer, page in zip(group.layers, group.pages, strict=True):
        if layer not in tensors:
            raise UnsupportedError(f"layer {layer} of group {group.index} has no KV cache")
        layers.append(pages_of(layer, tensors[layer], blocks, page))
    counts = {len(layer.bases) for layer in layers}
    if len(counts) > 1:
        raise UnsupportedError(f"group {group.index}: layers of one and of two tensors")
    return {
        "pages": blocks,
        "bytes": [layer.size for layer in layers],
        "page_stride": [layer.stride for layer in layers],
        "tensors": counts.pop(),
        "bases": [base for layer in layers for base in layer.bases],
    }


class Pool:
    """The pages of one rank."""

    def __init__(self, shape: Shape, tensors: Mapping[str, Any], blocks: int, part: int) -> None:
        self._part, self._groups = part, shape.groups
        self.block_bytes = [group.part_bytes for group in shape.groups]
        self._described = [describe(group, tensors, blocks) for group in shape.groups]
        self._tensors = dict(tensors)  # the addresses are theirs
        self._pools: list[StorePool] = []
        self._queue: Any = None
        self._events = np.zeros(256, EVENT)
        self._ops: dict[int, _Op] = {}
        self._late: deque[Any] = deque()
        self._tag = 0

    def _open(self, opened: Opened) -> None:
        """With the first transfer: pools and queue of the store, which stays the same."""
        for words in self._described[len(self._pools) :]:
            self._pools.append(opened.store.pool(**words))
        self._queue = opened.store.queue(depth=_DEPTH)

    def begin(
        self, opened: Opened, transfer: Transfer, saving: bool, *, by_layer: bool = False
    ) -> Work:
        """Starts to save or load blocks. by_layer: each layer ends for itself, and its save starts
        with `filled`. Errors: Error where the store takes none."""
        if self._queue is None:
            self._open(opened)
        done = [len(blocks.items) for blocks in transfer.blocks]
        work = Work(opened, transfer, saving, 0, done, time.monotonic(), [], by_layer=by_layer)
        for at, blocks in enumerate(transfer.blocks):
            layers = self._groups[blocks.group].layers if by_layer else ("",)
            work.left += len(layers)
            for place, layer in enumerate(layers):
                if by_layer and saving:
                    work.later.add(layer)
                else:
                    self._list(work, at, place, layer)
        self._submit()
        return work

    def filled(self, work: Work, layer: str) -> None:
        """A save by layers: this one's bytes are final."""
        if layer not in work.later:
            return
        work.later.remove(layer)
        for at, blocks in enumerate(work.transfer.blocks):
            layers = self._groups[blocks.group].layers
            if layer in layers:
                self._list(work, at, layers.index(layer), layer)
        with contextlib.suppress(Error):  # what is not taken now is, with the next reap
            self._submit()

    def give_up(self, work: Work) -> None:
        """A save by layers did not become whole: nobody need wait for its blocks."""
        for blocks in work.transfer.blocks:
            items = np.ascontiguousarray(blocks.items[blocks.parent :])
            self._tag += 1
            op = np.zeros(1, OP)
            opened = work.opened
            op["kind"], op["flags"], op["timeout_ms"] = low.WEFT_OP_ABORT, low.WEFT_LIST, TIMEOUT_MS
            op["tag"], op["key_hi"], op["key_lo"] = self._tag, len(items), opened.store.all_memory
            op["offset"] = low.address(items, False)[0]
            op["space"], op["part"] = opened.spaces[blocks.group].space, self._part
            self._ops[self._tag] = _Op(None, 0, "", items)
            self._late.append(op)
        with contextlib.suppress(Error):
            self._submit()

    def again(self, work: Work) -> None:
        """Saves once more what a save left undone, each block for itself: another engine was
        writing some of them."""
        work.retried, work.error = True, 0
        undone = work.done
        work.done = [len(blocks.items) for blocks in work.transfer.blocks]
        for at, first in enumerate(undone):
            if first < work.done[at]:
                work.left += 1
                self._list(work, at, 0, "", first)
        self._submit()

    def _list(self, work: Work, at: int, start: int, layer: str, first: int = 0) -> None:
        """One op on a block list from `first` on; of a layer alone where it is named."""
        opened, blocks = work.opened, work.transfer.blocks[at]
        items = np.ascontiguousarray(blocks.items[first:])
        flags = low.WEFT_LIST
        if not work.retried:
            flags |= low.WEFT_CHAIN | (low.WEFT_PARENT if blocks.parent else 0)
        self._tag += 1
        op = np.zeros(1, OP)
        op[0] = (
            *(self._tag, len(items), opened.store.all_memory, low.address(items, False)[0]),
            *(1 if layer else 0, start, opened.spaces[blocks.group].space),
            *(self._pools[blocks.group].region, TIMEOUT_MS, 0, flags),
            *(low.WEFT_OP_SAVE if work.saving else low.WEFT_OP_LOAD, self._part),
        )
        self._ops[self._tag] = _Op(work, at, layer, items)
        work.tags.append(self._tag)
        self._late.append(op)

    def _submit(self) -> None:
        while self._late:
            try:
                self._queue.submit(self._late[0])
            except AgainError:
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
            if op is None or op.work is None:
                continue  # a CANCEL's or an ABORT's own
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
        tags = [tag for work in works if work.left for tag in work.tags if tag in self._ops]
        return any(self._ops[tag].layer == layer for tag in tags)

    def cancel(self, work: Work) -> None:
        """Asks to end a transfer soon; it still ends by reap."""
        work.canceled = True
        ops = np.zeros(len(work.tags), OP)
        ops["kind"], ops["offset"] = low.WEFT_OP_CANCEL, work.tags
        with contextlib.suppress(Error):
            self._queue.submit(ops)

    def close(self) -> None:
        """Ends what is under way; from then on nothing touches the pages."""
        if self._queue is not None:
            self._queue.close()
            self._queue = None
        self._ops.clear()
        while self._pools:
            with contextlib.suppress(Error):
                self._pools.pop().close()
