"""Store: a node, or a connection to one; and Queue, the ABI's own way of work, for whom calls are
too slow.

Closing: a view must outlive its store's close, so the ABI's handle lies in Opened, which every view
holds too. Whoever is last closes it. From Store.close() on every call raises ClosedError."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from . import lowlevel
from .driver import Driver
from .errors import BusyError, Error, failure
from .keys import EVENT
from .namespace import Namespace
from .options import Option, render
from .pool import Pool
from .scope import Closed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    import numpy.typing as npt
    from typing_extensions import Self

_ALL = (0, 0, -1)  # weft_region_adopt's "all of this process": an offset is an address


class Opened:
    """The ABI's store handle, held by the Store and by every view; closed by the last of them."""

    def __init__(self, options: str | None) -> None:
        self.handle = lowlevel.open(options)
        self.memory = lowlevel.region_adopt(self.handle, *_ALL)[1]
        self.spaces: set[int] = set()
        self.pools: set[int] = set()

    def close(self) -> None:
        """Closes namespaces and store. Errors: BusyError, and then it is still open."""
        while self.spaces:
            space = next(iter(self.spaces))
            lowlevel.namespace_close(self.handle, space)
            self.spaces.discard(space)
        while self.pools:
            lowlevel.region_drop(self.handle, next(iter(self.pools)))
            self.pools.pop()
        if self.memory:
            lowlevel.region_drop(self.handle, self.memory)
            self.memory = 0
        if self.handle:
            lowlevel.close(self.handle)
            self.handle = 0

    def __del__(self) -> None:
        with contextlib.suppress(Error, AttributeError, ImportError, TypeError):
            self.close()


class Store(Closed):
    """A store: `Store(memory="64MiB")` private, with listen="unix:PATH" a node, with
    connect="unix:PATH" a client of one.

    options: text, or keywords rendered to text (True is yes); an unknown key is an InvalidError
    that names it. Opening and closing wait: in asyncio use `await asyncio.to_thread(weft.Store,
    ...)` and `async with`. Threads: any. Fork: ForkedError in the child; arrays over blocks must
    not be touched there."""

    def __init__(self, options: str | None = None, /, **more: Option) -> None:
        self._opened: Opened | None = Opened(render(options, more))
        self._handle = self._opened.handle
        self._driver = Driver(self._handle)
        self._all = self._opened.memory
        self._queues: weakref.WeakSet[Queue] = weakref.WeakSet()

    @property
    def handle(self) -> int:
        """The ABI's handle, for lowlevel. Errors: ClosedError."""
        if self._opened is None:
            raise failure(lowlevel.WEFT_ECLOSED, "the store is closed")
        return self._handle

    def namespace(self, name: str, options: str | None = None, /, **more: Option) -> Namespace:
        """Opens `tenant/model`, and creates it where there is none (create=False: MissError then).

        Options: version=, parts=2, part_bytes=2097152 (or one a part, a sequence; 0: any size),
        block_tokens=, layers=, dtype=, layout=, quota=, policy=, ttl_s=, pin_s=, write_s=,
        writer=NAME. Errors: InvalidError where what is stored differs, DeniedError, FencedError.
        """
        return Namespace(self, name, render(options, more))

    def query(self, text: str, space: int = 0) -> Any:
        """Asks in words ("stats", "about", "explain key=..."), answers as Python values of the
        JSON. Threads: any."""
        answer = bytearray(1 << 14)
        while True:
            size = lowlevel.query(self.handle, space, text, answer)
            if size < len(answer):
                return json.loads(bytes(answer[:size]) or b"null")
            answer = bytearray(size + 4096)

    def about(self) -> Any:
        """Versions, kinds, options, devices, limits: of this store, a client's not its node's."""
        return self.query("about")

    def stats(self) -> Any:
        """Counters of the store, hits and misses by reason among them."""
        return self.query("stats")

    def namespaces(self) -> Any:
        """The namespaces that this store may see."""
        return self.query("namespaces")

    def queue(self, options: str | None = None, /, **more: Option) -> Queue:
        """A queue of one's own, for ops as numpy arrays of weft.OP."""
        return Queue(self, render(options, more))

    def pool(self, layout: str | None = None, /, *, bases: Iterable[int], **more: Option) -> Pool:
        """Paged KV memory of an engine as a region for ops: pages=, bytes= (of a head and token in
        one tensor), tensors=1 or 2 (keys and values apart), heads=, tokens= (of a page),
        page_stride=, head_stride=, token_stride= (bytes); weft_pool_open in weft.h has it all.

        bases: an address for each layer and tensor. Errors: InvalidError, naming what is wrong."""
        if self._opened is None:
            raise failure(lowlevel.WEFT_ECLOSED, "the store is closed")
        return Pool(self._opened, render(layout, more), bases)

    @property
    def all_memory(self) -> int:
        """The region that is all of this process: offsets are addresses, and ops give a size."""
        return self._all

    def _story(self, handle: int) -> str:
        with contextlib.suppress(Error):
            answer = self.query(f"error id={handle}")
            return str(answer.get("message", answer) if isinstance(answer, dict) else answer)
        return ""

    def close(self) -> None:
        """Ends calls in flight and closes; twice is once. While arrays look at blocks, memory goes
        back with the last one.

        Errors: BusyError where a queue of one's own is open; all is as before then. In asyncio call
        it in the loop's thread."""
        opened = self._opened
        if opened is not None:
            if self._queues:
                words = f"{len(self._queues)} queues of one's own are open: close them first"
                raise failure(lowlevel.WEFT_EBUSY, words)
            self._driver.close()
            self._opened = None
            probe = object()
            if sys.getrefcount(opened) > sys.getrefcount(probe):  # views hold it too
                return
            try:
                opened.close()
            except BusyError:
                self._opened = opened
                words = "calls on the store wait in other threads: close it when they have ended"
                raise failure(lowlevel.WEFT_EBUSY, words) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._driver.close_loop(asyncio.get_running_loop())
        await asyncio.to_thread(self.close)

    def __del__(self) -> None:
        with contextlib.suppress(Error, AttributeError, ImportError, TypeError):
            self.close()


class Queue(Closed):
    """Ops in, events out, thousands at a time. What an op names must live until its event has been
    reaped: see weft.h."""

    def __init__(self, store: Store, options: str | None) -> None:
        self._store = store
        self._queue = lowlevel.queue_open(store.handle, options)
        store._queues.add(self)

    @property
    def fd(self) -> int:
        """Readable while there are events; only reap clears it."""
        return lowlevel.queue_fd(self._queue)

    def submit(self, ops: npt.NDArray[np.void]) -> int:
        """ops: contiguous, weft.OP. How many were taken, in order; AgainError where none. Threads:
        any. Never waits."""
        return lowlevel.submit(self._queue, ops)

    def reap(self, events: npt.NDArray[np.void], timeout_ms: int = -1) -> int:
        """events: contiguous, weft.EVENT, overwritten. How many came; 0 at the timeout. Threads:
        one at a time."""
        return lowlevel.reap(self._queue, events, timeout_ms)

    def close(self) -> None:
        """Takes no more ops, ends those in flight and forgets their events."""
        events = np.zeros(64, EVENT)
        while self._queue and lowlevel.queue_close(self._queue) > 0:
            self.reap(events)
        self._queue = 0
        self._store._queues.discard(self)

    def __del__(self) -> None:
        with contextlib.suppress(Error, AttributeError, ImportError, TypeError):
            self.close()
