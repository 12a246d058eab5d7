"""How plans are carried out: by a thread, or by an asyncio loop.

- A thread takes a queue from the pool, carries out one op at a time on it, and puts it back: a
  queue has one reaper.
- A loop has one queue, watched by add_reader. Its pending table keeps plan and op until the op's
  event has been reaped, also when the awaiting task is gone: then the op is canceled, and what it
  opened all the same is given back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from . import lowlevel
from .errors import AgainError, ClosedError, Error, failure
from .keys import EVENT_STRUCT, OP_STRUCT
from .twin import Event, Plan

T = TypeVar("T")


def _abandon(plan: Plan[Any], event: Event) -> None:
    """Nobody waits for this event: the plan takes it, so that its result, if any, is dropped and
    gives back what it holds."""
    with contextlib.suppress(StopIteration, Error):
        plan.send(event)
    plan.close()


class LoopQueue:
    """One loop's queue. Threads: the loop's, but for close when the loop is no longer running."""

    def __init__(self, store: int, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._queue = lowlevel.queue_open(store, None)
        self._events = bytearray(64 * EVENT_STRUCT.size)
        self._pending: dict[int, tuple[asyncio.Future[Event], Plan[Any], bytes]] = {}
        self._room: deque[asyncio.Future[None]] = deque()
        self._tag = 0
        self._fd = lowlevel.queue_fd(self._queue)
        loop.add_reader(self._fd, self._reap)

    async def run(self, plan: Plan[T]) -> T:
        """Carries out `plan`; its exceptions come here."""
        try:
            op = next(plan)
            while True:
                op = plan.send(await self._one(op, plan))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _one(self, op: bytes, plan: Plan[Any]) -> Event:
        self._tag += 1
        tag = self._tag
        op = tag.to_bytes(8, "little") + op[8:]
        while True:
            try:
                lowlevel.submit(self._queue, op)
                break
            except AgainError:
                self._room.append(self.loop.create_future())
                await self._room[-1]
        future: asyncio.Future[Event] = self.loop.create_future()
        self._pending[tag] = (future, plan, op)
        self._reap()  # a local op may have ended inside submit
        try:
            return future.result() if future.done() else await future
        except asyncio.CancelledError:
            if tag in self._pending:
                cancel = OP_STRUCT.pack(
                    0, 0, 0, tag, 0, 0, 0, 0, 0, 0, 0, lowlevel.WEFT_OP_CANCEL, 0
                )
                with contextlib.suppress(Error):
                    lowlevel.submit(self._queue, cancel)
            elif not future.cancelled():
                _abandon(plan, future.result())
            raise

    def _reap(self, timeout_ms: int = 0) -> int:
        try:
            count = lowlevel.reap(self._queue, self._events, timeout_ms)
        except ClosedError:
            return 0
        size = EVENT_STRUCT.size
        for tag, value, handle, status, detail in EVENT_STRUCT.iter_unpack(
            self._events[: count * size]
        ):
            future, plan, _ = self._pending.pop(tag, (None, None, b""))
            event = Event(status, value, handle, detail)
            if future is None or plan is None:
                continue  # a CANCEL's own
            if future.cancelled() or self.loop.is_closed():
                _abandon(plan, event)
            elif not future.done():
                future.set_result(event)
        if count:
            self._wake()
        return count

    def _wake(self) -> None:
        while self._room:
            room = self._room.popleft()
            if not room.done() and not self.loop.is_closed():
                room.set_result(None)

    def close(self) -> None:
        """Ends the ops in flight, each by its event, and gives the queue back."""
        if not self.loop.is_closed():
            self.loop.remove_reader(self._fd)
        with contextlib.suppress(Error):
            while lowlevel.queue_close(self._queue) > 0:
                self._reap(-1)
        self._wake()


class Driver:
    """A store's queues: a pool for threads, one for each loop. Threads: any."""

    def __init__(self, store: int) -> None:
        self.store = store
        self._closed = False
        self._pool: deque[int] = deque()
        self._loops: dict[asyncio.AbstractEventLoop, LoopQueue] = {}

    def run(self, plan: Plan[T]) -> T:
        """Carries out `plan` in this thread, without the GIL while it waits."""
        try:
            op = next(plan)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if self._closed:
            raise failure(lowlevel.WEFT_ECLOSED, "the store is closed")
        try:
            queue = self._pool.pop()
        except IndexError:
            queue = lowlevel.queue_open(self.store, None)
        try:
            while True:
                op = plan.send(Event(*lowlevel.call(self.store, queue, op)))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            self._pool.append(queue)

    async def run_in_loop(self, plan: Plan[T]) -> T:
        """Carries out `plan` on the running loop's queue."""
        if self._closed:
            raise failure(lowlevel.WEFT_ECLOSED, "the store is closed")
        loop = asyncio.get_running_loop()
        queue = self._loops.get(loop)
        if queue is None:
            for other in [one for one in self._loops if one.is_closed()]:
                self._loops.pop(other).close()
            queue = self._loops[loop] = LoopQueue(self.store, loop)
        return await queue.run(plan)

    def close_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gives the loop's queue back, in the loop's thread."""
        if loop in self._loops:
            self._loops.pop(loop).close()

    def close(self) -> None:
        """Gives every queue back. A loop that runs in another thread does its part there, and this
        waits for it."""
        self._closed = True
        while self._loops:
            loop, queue = self._loops.popitem()
            running = loop.is_running() and asyncio._get_running_loop() is not loop
            if running:
                asyncio.run_coroutine_threadsafe(_later(queue.close), loop).result()
            else:
                queue.close()
        while self._pool:
            with contextlib.suppress(Error):
                lowlevel.queue_close(self._pool.pop())


async def _later(act: Callable[[], None]) -> None:
    act()
