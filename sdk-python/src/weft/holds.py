"""What a call holds for its caller until it is let go: pins, claims, reservations. Each is a
context manager, and lets go when it is collected, so that nothing is held for ever by an exception
or a cancelled task."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from . import lowlevel
from .driver import Driver
from .errors import Error, failure
from .memory import Bytes, View
from .scope import Released, Scope
from .twin import Plan, twin

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from .ops import Ops


class Held(Released):
    """A pin or a claim of the store; release() ends it, twice is once. Threads: any; never
    waits."""

    def __init__(self, store: int, handle: int) -> None:
        self._store, self._handle = store, handle

    def release(self) -> None:
        """Ends it now, before its time."""
        handle, self._handle = self._handle, 0
        if handle:
            lowlevel.release(self._store, handle.to_bytes(8, "little"))

    def __del__(self) -> None:
        with contextlib.suppress(Error, AttributeError, ImportError, TypeError):
            self.release()


class Found(Held):
    """What a MATCH counted: `blocks`, and `reason`, why the next one does not count (None: there is
    no next one).

    With pin=True the counted blocks stay loadable by every rank until release or its time."""

    def __init__(self, store: int, handle: int, blocks: int, reason: str | None) -> None:
        super().__init__(store, handle)
        self.blocks, self.reason = blocks, reason


class Claim(Held):
    """The right to compute keys[first:]; others wait meanwhile. It ends block by block as they are
    published."""

    def __init__(self, store: int, handle: int, first: int) -> None:
        super().__init__(store, handle)
        self.first = first


class Reservation(Scope):
    """Parts opened for writing in place. The arrays must not be used after commit or abort: the
    slots are the store's again.

    arrays: one writable uint8 array of the part's bytes for each key, None where the block was
    there already. As a context manager it commits at the end and aborts on an exception. Threads:
    one at a time."""

    def __init__(self, namespace: Ops, handle: int, views: list[View | None]) -> None:
        self._namespace, self._handle, self._store = namespace, handle, namespace._handle
        self.arrays: list[Bytes | None] = [None if view is None else view.array for view in views]

    @property
    def _driver(self) -> Driver:
        return self._namespace._driver

    @property
    def array(self) -> Bytes:
        """The first writable array. Errors: ClosedError after commit or abort, or where all blocks
        were there."""
        for array in self.arrays:
            if array is not None:
                return array
        raise failure(lowlevel.WEFT_ECLOSED, "nothing is open for writing in this reservation")

    def _end(self) -> int:
        handle, self._handle = self._handle, 0
        for array in self.arrays:
            if array is not None:
                array.flags.writeable = False
        self.arrays = []
        if handle and self._namespace._store._opened is None:  # no op will be taken any more
            self._let_go(handle)
        return handle

    def _let_go(self, handle: int) -> None:
        lowlevel.release(self._store, handle.to_bytes(8, "little"))

    def drop(self) -> None:
        """As abort, but nobody waits for the node; twice is once."""
        handle = self._end()
        if handle and self._namespace._store._opened is not None:
            self._let_go(handle)

    @twin
    def final(self, size: int, *, timeout_ms: int = 0) -> Plan[None]:
        """Makes the bytes before `size` of each part final, for those who follow; more are to
        come."""
        op = self._namespace._op(
            lowlevel.WEFT_OP_COMMIT,
            flags=lowlevel.WEFT_MORE,
            offset=self._handle,
            size=size,
            timeout_ms=timeout_ms,
        )
        self._namespace._check((yield op), "final")

    @twin
    def commit(
        self, *, ttl_s: int = 0, reuse: str | None = None, timeout_ms: int = 0
    ) -> Plan[bool]:
        """Publishes the parts. True: this published the last of the blocks; False: other parts
        lack, or nothing was open.

        ttl_s: seconds until the block expires, 0: the namespace's. Errors: FencedError,
        ClosedError, PeerError, ..."""
        handle = self._end()
        if not handle:
            return False
        flags = self._namespace._reuse(reuse)
        op = self._namespace._op(
            lowlevel.WEFT_OP_COMMIT, flags=flags, offset=handle, ttl_s=ttl_s, timeout_ms=timeout_ms
        )
        return self._namespace._check((yield op), "commit").detail == 1

    @twin
    def abort(self) -> Plan[None]:
        """Drops what was written and gives the key free. After commit or abort it does nothing."""
        handle = self._end()
        if handle:
            self._namespace._check(
                (yield self._namespace._op(lowlevel.WEFT_OP_ABORT, offset=handle)), "abort"
            )

    def _leave(self, failed: bool) -> None:
        self.abort() if failed else self.commit()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.commit.aio()
        else:
            await self.abort.aio()

    def __del__(self) -> None:
        with contextlib.suppress(Error, AttributeError, ImportError, TypeError):
            self.drop()
