"""Ops: how a call on blocks becomes an op, and what its event's status means. The base of
Namespace's calls.

Arguments that mean the same in all of them: part, a rank's share, from 0. start, size: bytes of the
part; size 0 is all from start. ttl_s: seconds until the block expires, 0: the namespace's.
timeout_ms: 0: the store's. wait_writer: wait for whoever writes the block. follow: take a block
that is still being written, as soon as the bytes asked for are final; follower: a number of one's
own, where several of this process may follow it at a time. chain: the keys are a prompt's, each the
child of the one before, and a failure ends the rest. reuse: "soon", "none" or "maybe", a hint.
Common errors: InvalidError, FencedError (the namespace has advanced), TimedOutError, PeerError,
QuotaError, ClosedError, ForkedError. A miss is an answer. Threads: any. What has .aio waits;
the rest only looks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING

import numpy as np

from . import lowlevel as low
from .driver import Driver
from .errors import ADVICE, failure, words_of
from .keys import ITEM_STRUCT, OP_STRUCT, Key, KeyList, Keys, as_keys, named
from .memory import Bytes, Memory, View, as_bytes
from .twin import Event, Plan

if TYPE_CHECKING:
    from .store import Store

_LAYOUT = struct.Struct("<6I3Q")  # weft_namespace
_REUSE = {
    None: 0,
    "soon": low.WEFT_REUSE_SOON,
    "none": low.WEFT_REUSE_NONE,
    "maybe": low.WEFT_REUSE_MAYBE,
}


class Ops:
    """An open namespace, as ops see it: name, space (the id that ops name), version, floor and
    layout."""

    def __init__(self, store: Store, name: str, options: str | None) -> None:
        found = bytearray(_LAYOUT.pack(_LAYOUT.size, *[0] * 8))
        low.namespace_open(store.handle, name, options, found)
        self._store, self._handle, self.name = store, store.handle, name
        _, self.space, self.parts, self.block_tokens, self.layers, self.alignment, *sizes = (
            _LAYOUT.unpack(found)
        )
        self.part_bytes, self.version, self.floor = sizes
        self._open = True
        if store._opened is not None:
            store._opened.spaces.add(self.space)

    def _check_open(self) -> None:
        if not self._open and self._store._opened is not None:
            raise failure(low.WEFT_ECLOSED, f"namespace {self.name!r} is closed")

    @property
    def _driver(self) -> Driver:
        return self._store._driver

    @staticmethod
    def _flags(
        *,
        chain: bool = False,
        verify: bool = False,
        follow: bool = False,
        wait_writer: bool = False,
        replace: bool = False,
    ) -> int:
        return (
            (low.WEFT_CHAIN if chain else 0)
            | (low.WEFT_VERIFY if verify else 0)
            | (low.WEFT_FOLLOW if follow else 0)
            | (low.WEFT_WAIT_WRITER if wait_writer else 0)
            | (low.WEFT_REPLACE if replace else 0)
        )

    @staticmethod
    def _reuse(reuse: str | None) -> int:
        if reuse not in _REUSE:
            raise failure(low.WEFT_EINVAL, f'reuse={reuse!r}: "soon", "none", "maybe" or None')
        return _REUSE[reuse]

    def _op(
        self,
        kind: int,
        key: Key = 0,
        memory: Bytes | None = None,
        items: Keys | None = None,
        /,
        *,
        flags: int = 0,
        offset: int = 0,
        size: int = 0,
        start: int = 0,
        region: int = 0,
        timeout_ms: int = 0,
        ttl_s: int = 0,
        part: int = 0,
    ) -> bytes:
        """64 bytes of weft_op on `key`, or on `items` as a list, and on `memory` in the region of
        all memory."""
        self._check_open()
        if items is not None:
            flags |= low.WEFT_LIST
            high, word, offset = len(items), self._store.all_memory, low.address(items, False)[0]
        else:
            high, word = low.split(key)
        if memory is not None:
            offset, region = low.address(memory, False)[0], self._store.all_memory
        space = self.space
        try:
            return OP_STRUCT.pack(
                *(0, high, word, offset, size, start, space, region),
                *(timeout_ms, ttl_s, flags, kind, part),
            )
        except struct.error:
            raise failure(
                low.WEFT_EINVAL,
                _unfit(offset=offset, size=size, start=start, timeout_ms=timeout_ms, ttl_s=ttl_s)
                or _unfit(0xFFFF, part=part, kind=kind)
                or _unfit(flags=flags, region=region),
            ) from None

    def _list(self, kind: int, items: Keys, *, flags: int = 0, **fields: int) -> Plan[Event]:
        """A list op; none at all for an empty list. `items` live in this frame until its event is
        here."""
        if not len(items):
            return Event(0, 0, 0, 0)
        return (yield self._op(kind, 0, None, items, flags=flags, **fields))

    def _places(
        self, keys: KeyList, buffers: Memory | Sequence[Memory], *, writable: bool
    ) -> tuple[Keys, object]:
        """A copy of the keys with each block's place in memory, and what keeps that memory."""
        items = as_keys(keys).copy()
        count = len(items)
        if isinstance(buffers, (list, tuple)):
            rows = [as_bytes(one, writable=writable) for one in buffers]
            if len(rows) != count:
                raise failure(low.WEFT_EINVAL, f"{len(rows)} buffers for {count} keys")
            items["offset"] = [low.address(row, False)[0] for row in rows]
            items["size"] = [len(row) for row in rows]
            return items, rows
        whole = as_bytes(buffers, writable=writable)  # type: ignore[arg-type]
        row = len(whole) // count if count else 0
        shape = np.shape(buffers) if isinstance(buffers, np.ndarray) else ()
        if len(shape) > 1 and shape[0] != count:
            raise failure(
                low.WEFT_EINVAL, f"an array of {shape[0]} rows (shape {shape}) for {count} keys"
            )
        if row * count != len(whole):
            raise failure(
                low.WEFT_EINVAL, f"a buffer of {len(whole)} bytes is not {count} equal rows"
            )
        items["offset"] = low.address(whole, False)[0] + np.arange(
            count, dtype=np.uint64
        ) * np.uint64(row)
        items["size"] = row
        return items, whole

    def _opened(self, event: Event, *, writable: bool) -> list[View | None]:
        """The memory that a VIEW or RESERVE of one block opened."""
        item = ITEM_STRUCT.pack(0, 0, event.value, event.detail, 0)
        handle = 0 if writable else event.handle
        return low.hold(View, self._store._opened, self._handle, handle, item, writable)

    def _check(self, event: Event, what: str, *answers: int, key: Key | None = None) -> Event:
        """`event` where its status is no failure, or one of `answers`; else raises its code with
        the library's words. key: the one block that `what` was done to."""
        code = -event.status
        if code <= 0 or code in answers:
            return event
        if code == low.WEFT_ERANGE:
            words = f"it would take {event.handle} bytes"
        else:
            words = (
                self._store._story(event.handle) if event.handle and code != low.WEFT_EMISS else ""
            )
        subject = what if key is None else f"{what} of {named(key)}"
        if code in ADVICE or words == "":
            words = words_of(code)
        raise failure(code, f"{subject} in {self.name}: {words}")


def _unfit(most: int = 0xFFFFFFFF, /, **fields: object) -> str:
    """The fields that are no whole number of weft_op's widths, with their values."""
    wide = {"offset": (1 << 64) - 1}
    return "; ".join(
        f"{name}={value!r}: a whole number from 0 to {wide.get(name, most)}"
        for name, value in fields.items()
        if not hasattr(value, "__index__") or not 0 <= index(value) <= wide.get(name, most)
    )
