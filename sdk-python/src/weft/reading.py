"""Reading: looks, copies, views and counts of blocks. Common arguments and errors: see ops.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import lowlevel as low
from .errors import MISS_REASONS, ClosedError, InvalidError
from .holds import Found
from .keys import Key, KeyList, as_keys
from .memory import Bytes, Memory, View, Views, as_bytes
from .ops import Ops
from .twin import Plan, twin

_GUESS = 1 << 16  # bytes first tried for a part of unknown size


class Reading(Ops):
    """Calls that read blocks."""

    def match(self, keys: KeyList) -> int:
        """How many of these lead blocks this host's memory holds, whole. Never waits."""
        try:
            return low.match(self._store.handle, self.space, as_keys(keys))
        except (InvalidError, ClosedError):
            self._check_open()
            raise

    def view(self, key: Key, part: int = 0) -> View | None:
        """A look at a block in this host's memory, or None: then fetch may still bring it. Never
        waits; under 2 us."""
        try:
            return low.look(View, self._store._opened, self._handle, self.space, part, key)
        except (InvalidError, ClosedError):
            self._check_open()
            raise

    def view_list(self, keys: KeyList, part: int = 0) -> Views:
        """Views of the lead blocks that this host's memory holds; fewer at the limit of views.
        Never waits."""
        opened = self._store._opened
        try:
            return Views(low.look_list(View, opened, self._handle, self.space, part, as_keys(keys)))
        except (InvalidError, ClosedError):
            self._check_open()
            raise

    @twin
    def load(
        self,
        key: Key,
        out: Memory | None = None,
        *,
        part: int = 0,
        start: int = 0,
        size: int = 0,
        verify: bool = False,
        follow: bool = False,
        follower: int = 0,
        wait_writer: bool = False,
        reuse: str | None = None,
        timeout_ms: int = 0,
    ) -> Plan[Bytes | None]:
        """A copy of a part's bytes from `start`: own memory, or `out` up to what there was; None: a
        miss.

        out: contiguous, writable; it takes at most its size, so compare the result's with what you
        expect. verify: whole parts, checks the checksum (CorruptError)."""
        flags = self._flags(verify=verify, follow=follow, wait_writer=wait_writer) | self._reuse(
            reuse
        )
        room = size or max(self.part_bytes - start, 0) or _GUESS
        # A checksum is of a whole part: how much that is, is asked first.
        probes = verify and out is None and not size and not self.part_bytes
        while True:
            into = np.empty(room, np.uint8) if out is None else as_bytes(out, writable=True)
            wanted = min(size or len(into), len(into))
            event = yield self._op(
                low.WEFT_OP_LOAD,
                key,
                into,
                flags=flags & ~low.WEFT_VERIFY if probes else flags,
                part=part,
                start=start,
                size=wanted,
                ttl_s=follower,
                timeout_ms=timeout_ms,
            )
            if self._check(event, "load", low.WEFT_EMISS, key=key).status < 0:
                return None
            whole = out is not None or size or start + event.value >= event.handle
            if whole and not probes:
                return into[: event.value]
            room = event.handle - start
            probes = False

    @twin
    def load_list(
        self,
        keys: KeyList,
        buffers: Memory | Sequence[Memory],
        *,
        chain: bool = True,
        part: int = 0,
        start: int = 0,
        verify: bool = False,
        follow: bool = False,
        follower: int = 0,
        wait_writer: bool = False,
        reuse: str | None = None,
        timeout_ms: int = 0,
    ) -> Plan[int]:
        """Copies many parts, each to its place; how many lead blocks were loaded.

        buffers: one buffer of n equal rows (an array of shape (n, ...)), or n buffers; each is
        filled, at most to the part's end."""
        flags = self._flags(
            chain=chain, verify=verify, follow=follow, wait_writer=wait_writer
        ) | self._reuse(reuse)
        items, held = self._places(keys, buffers, writable=True)
        event = yield from self._list(
            low.WEFT_OP_LOAD,
            items,
            flags=flags,
            region=self._store.all_memory,
            part=part,
            start=start,
            ttl_s=follower,
            timeout_ms=timeout_ms,
        )
        del held
        return self._check(event, "load_list", low.WEFT_EMISS).value

    @twin
    def fetch(
        self,
        key: Key,
        *,
        part: int = 0,
        verify: bool = False,
        follow: bool = False,
        follower: int = 0,
        wait_writer: bool = False,
        timeout_ms: int = 0,
    ) -> Plan[View | None]:
        """A view, brought to this host first if need be; None: a miss. follow: wait(follow=True)
        says how far it is final."""
        flags = self._flags(verify=verify, follow=follow, wait_writer=wait_writer)
        event = yield self._op(
            low.WEFT_OP_VIEW, key, flags=flags, part=part, ttl_s=follower, timeout_ms=timeout_ms
        )
        if self._check(event, "fetch", low.WEFT_EMISS, key=key).status < 0:
            return None
        return self._opened(event, writable=False)[0]

    @twin
    def fetch_list(
        self,
        keys: KeyList,
        *,
        part: int = 0,
        verify: bool = False,
        follow: bool = False,
        follower: int = 0,
        wait_writer: bool = False,
        timeout_ms: int = 0,
    ) -> Plan[Views]:
        """Views of a chain's lead blocks, brought to this host first if need be."""
        flags = self._flags(chain=True, verify=verify, follow=follow, wait_writer=wait_writer)
        items = as_keys(keys).copy()
        event = yield from self._list(
            low.WEFT_OP_VIEW, items, flags=flags, part=part, ttl_s=follower, timeout_ms=timeout_ms
        )
        if not event.value:
            self._check(event, "fetch_list", low.WEFT_EMISS)
            return Views([])
        opened = items[: event.value]
        views = low.hold(View, self._store._opened, self._handle, event.handle, opened, False)
        return Views([view for view in views if view is not None])

    @twin
    def find(
        self,
        keys: KeyList,
        *,
        chain: bool = True,
        pin: bool = False,
        follow: bool = False,
        ttl_s: int = 0,
        timeout_ms: int = 0,
    ) -> Plan[Found]:
        """Counts the lead blocks that are whole and in reach, over all tiers, and says why the next
        one is not.

        pin: they stay loadable by every rank until release or ttl_s. follow: blocks being written
        count too."""
        flags = self._flags(chain=chain, follow=follow) | (low.WEFT_PIN if pin else 0)
        items = as_keys(keys)
        event = yield from self._list(
            low.WEFT_OP_MATCH, items, flags=flags, ttl_s=ttl_s, timeout_ms=timeout_ms
        )
        self._check(event, "find")
        reason = MISS_REASONS.get(event.detail) if event.value < len(items) else None
        return Found(self._handle, event.handle, event.value, reason)
