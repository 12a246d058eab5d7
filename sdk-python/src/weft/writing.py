"""Writing: saves, and reservations for writing in place. Common arguments and errors: see
ops.py."""

from __future__ import annotations

from collections.abc import Sequence

from . import lowlevel as low
from .errors import Error
from .holds import Reservation
from .keys import Key, KeyList, as_keys
from .memory import Memory, View, as_bytes
from .ops import Ops
from .twin import Plan, twin


class Writing(Ops):
    """Calls that write blocks."""

    @twin
    def save(
        self,
        key: Key,
        buffer: Memory,
        *,
        part: int = 0,
        start: int = 0,
        ttl_s: int = 0,
        replace: bool = False,
        wait_writer: bool = False,
        reuse: str | None = None,
        timeout_ms: int = 0,
    ) -> Plan[bool]:
        """Copies a part's bytes, or those from `start`, into the cache.

        buffer: contiguous. True: this call published the block; False: it was there already, or
        other parts lack. replace: a new generation; until it is published readers have the old one.
        Errors: HeldError (it is being written), RangeError (larger than the part)."""
        flags = self._flags(replace=replace, wait_writer=wait_writer) | self._reuse(reuse)
        data = as_bytes(buffer)
        event = yield self._op(
            low.WEFT_OP_SAVE,
            key,
            data,
            flags=flags,
            part=part,
            start=start,
            size=len(data),
            ttl_s=ttl_s,
            timeout_ms=timeout_ms,
        )
        self._check(event, "save", low.WEFT_EEXISTS, key=key)
        return event.detail == 1 and event.status >= 0

    @twin
    def save_list(
        self,
        keys: KeyList,
        buffers: Memory | Sequence[Memory],
        *,
        chain: bool = True,
        part: int = 0,
        start: int = 0,
        ttl_s: int = 0,
        replace: bool = False,
        wait_writer: bool = False,
        reuse: str | None = None,
        timeout_ms: int = 0,
    ) -> Plan[int]:
        """Saves many parts; how many lead blocks are done, those that were there already among
        them.

        buffers: one buffer of n equal rows (an array of shape (n, ...)), or n buffers."""
        flags = self._flags(chain=chain, replace=replace, wait_writer=wait_writer) | self._reuse(
            reuse
        )
        items, held = self._places(keys, buffers, writable=False)
        event = yield from self._list(
            low.WEFT_OP_SAVE,
            items,
            flags=flags,
            region=self._store.all_memory,
            part=part,
            start=start,
            ttl_s=ttl_s,
            timeout_ms=timeout_ms,
        )
        del held
        return self._check(event, "save_list", low.WEFT_EEXISTS).value

    @twin
    def reserve(
        self,
        key: Key,
        size: int = 0,
        *,
        part: int = 0,
        replace: bool = False,
        wait_writer: bool = False,
        timeout_ms: int = 0,
    ) -> Plan[Reservation]:
        """Opens a part of `size` bytes (0: the namespace's) for writing in place.

        Errors: ExistsError (the block is there), HeldError (it is being written), QuotaError (no
        free slot)."""
        flags = self._flags(replace=replace, wait_writer=wait_writer)
        event = yield self._op(
            low.WEFT_OP_RESERVE, key, flags=flags, part=part, size=size, timeout_ms=timeout_ms
        )
        self._check(event, "reserve", key=key)
        return Reservation(self, event.handle, self._opened(event, writable=True))

    @twin
    def reserve_list(
        self,
        keys: KeyList,
        size: int = 0,
        *,
        chain: bool = True,
        part: int = 0,
        replace: bool = False,
        wait_writer: bool = False,
        timeout_ms: int = 0,
    ) -> Plan[Reservation]:
        """Opens the parts of many blocks under one reservation; None in .arrays for a block that is
        there already."""
        flags = self._flags(chain=chain, replace=replace, wait_writer=wait_writer)
        items = as_keys(keys).copy()
        items["status"] = -low.WEFT_ECANCELED  # of those that a failure left out
        event = yield from self._list(
            low.WEFT_OP_RESERVE, items, flags=flags, part=part, size=size, timeout_ms=timeout_ms
        )
        handle = event.handle if event.status >= 0 or (items["status"] >= 0).any() else 0
        made = Reservation(
            self, handle, low.hold(View, self._store._opened, self._handle, 0, items, True)
        )
        try:
            self._check(event, "reserve_list", low.WEFT_EEXISTS)
        except Error:
            made.drop()  # now: the exception's traceback would hold it as long as it is looked at
            raise
        return made

    @twin
    def drop_unfinished(self, keys: KeyList, *, timeout_ms: int = 0) -> Plan[int]:
        """Drops what this namespace's writer has saved of these blocks and not published; how many
        lead ones."""
        event = yield from self._list(low.WEFT_OP_ABORT, as_keys(keys), timeout_ms=timeout_ms)
        return self._check(event, "drop_unfinished", low.WEFT_EMISS).value
