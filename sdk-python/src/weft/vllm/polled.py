"""Plans of the SDK carried out without a thread or a loop: submitted now, asked about later.

vLLM's scheduler must never wait, and calls the connector at every step: so each call polls. A plan
is what `Namespace.find(namespace, keys)` of the class gives (weft.twin); it keeps what its op names
alive. Threads: one."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ..errors import AgainError, Error
from ..keys import EVENT, OP
from ..twin import Event, Plan

if TYPE_CHECKING:
    from ..store import Store

T = TypeVar("T")
_DEPTH = 1024  # ops taken and not yet reaped; more wait in _late


class Task(Generic[T]):
    """A plan under way. error: what it raised, None where it did not."""

    def __init__(self, plan: Plan[T]) -> None:
        self.plan = plan
        self.done = False
        self.result: T | None = None
        self.error: Exception | None = None

    def step(self, event: Event | None) -> bytes | None:
        """Goes on with `event`; the next op, or None where the plan has ended."""
        try:
            return next(self.plan) if event is None else self.plan.send(event)
        except StopIteration as end:
            self.result = end.value
        except (Error, ValueError) as error:
            self.error = error
        self.done = True
        return None


class Polled:
    """Tasks on one queue of a store."""

    def __init__(self, store: Store) -> None:
        self._queue = store.queue(depth=_DEPTH)
        self._events = np.zeros(64, EVENT)
        self._tasks: dict[int, tuple[Task[Any], bytes]] = {}
        self._late: deque[tuple[int, bytes]] = deque()
        self._tag = 0

    def start(self, plan: Plan[T]) -> Task[T]:
        """Begins to carry out `plan`."""
        task = Task(plan)
        self._go(task, task.step(None))
        return task

    def _go(self, task: Task[Any], op: bytes | None) -> None:
        if op is None:
            return
        self._tag += 1
        op = self._tag.to_bytes(8, "little") + op[8:]
        self._tasks[self._tag] = (task, op)
        self._late.append((self._tag, op))
        self._submit()

    def _submit(self) -> None:
        while self._late:
            try:
                self._queue.submit(np.frombuffer(self._late[0][1], OP))
            except AgainError:
                return
            self._late.popleft()

    def poll(self, timeout_ms: int = 0) -> None:
        """Takes what has ended, waiting for at most `timeout_ms` where nothing has."""
        if not self._tasks:
            return
        count = self._queue.reap(self._events, timeout_ms)
        for tag, value, handle, status, detail in self._events[:count].tolist():
            task, _ = self._tasks.pop(tag)
            self._go(task, task.step(Event(status, value, handle, detail)))
        self._submit()

    def close(self) -> None:
        """Ends what is under way."""
        self._tasks.clear()
        with contextlib.suppress(Error):
            self._queue.close()
