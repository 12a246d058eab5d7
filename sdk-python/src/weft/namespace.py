"""Namespace: everything that can be done with `tenant/model` at a version. Common arguments and
errors: see ops.py."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from . import lowlevel as low
from .errors import BusyError, failure
from .holds import Claim, Reservation
from .keys import Key, KeyList, as_keys, named
from .memory import npy_array, npy_header
from .reading import Reading
from .scope import Closed
from .twin import Event, Plan, twin
from .writing import Writing


class Namespace(Reading, Writing, Closed):
    """`tenant/model` at a version, opened by Store.namespace. Context manager: closes it."""

    # Waiting, and the life of blocks.

    @twin
    def wait(
        self,
        keys: KeyList,
        *,
        chain: bool = True,
        part: int = 0,
        start: int = 0,
        size: int = 0,
        follow: bool = False,
        follower: int = 0,
        timeout_ms: int = 0,
    ) -> Plan[bool]:
        """Until the blocks are published: True; False when there is no writer, or it gives up.

        follow, of one key: until the part's bytes before start + size are final."""
        items = as_keys(keys)
        flags = self._flags(follow=follow)
        if len(items) == 1:
            event = yield self._op(
                low.WEFT_OP_WAIT,
                items,
                flags=flags,
                part=part,
                start=start,
                size=size,
                ttl_s=follower,
                timeout_ms=timeout_ms,
            )
        else:
            flags |= self._flags(chain=chain)
            event = yield from self._list(
                low.WEFT_OP_WAIT,
                items,
                flags=flags,
                part=part,
                ttl_s=follower,
                timeout_ms=timeout_ms,
            )
        return self._check(event, "wait", low.WEFT_EMISS).status >= 0

    @twin
    def claim(
        self, keys: KeyList, *, chain: bool = True, ttl_s: int = 0, timeout_ms: int = 0
    ) -> Plan[Claim | None]:
        """Single flight: waits while others compute these blocks. None: all are there; else compute
        keys[claim.first:].

        The claim ends block by block as they are published, wholly by release, death or ttl_s (0:
        the namespace's write_s; an hour at most)."""
        items = as_keys(keys)
        flags = self._flags(chain=chain) | low.WEFT_CLAIM
        event = yield from self._list(
            low.WEFT_OP_WAIT, items, flags=flags, ttl_s=ttl_s, timeout_ms=timeout_ms
        )
        if self._check(event, "claim", low.WEFT_EMISS).status >= 0:
            return None
        return Claim(self._handle, event.handle, event.value)

    @twin
    def touch(
        self,
        keys: KeyList,
        *,
        chain: bool = True,
        reuse: str | None = None,
        ttl_s: int = 0,
        timeout_ms: int = 0,
    ) -> Plan[int]:
        """Says that a request used the blocks; ttl_s sets their expiry anew. How many lead ones are
        there."""
        flags = self._flags(chain=chain) | self._reuse(reuse)
        event = yield from self._list(
            low.WEFT_OP_TOUCH, as_keys(keys), flags=flags, ttl_s=ttl_s, timeout_ms=timeout_ms
        )
        return self._check(event, "touch", low.WEFT_EMISS).value

    @twin
    def remove(self, keys: KeyList, *, timeout_ms: int = 0) -> Plan[int]:
        """Removes blocks: gets that start afterwards miss. How many lead ones were there."""
        event = yield from self._list(low.WEFT_OP_REMOVE, as_keys(keys), timeout_ms=timeout_ms)
        return self._check(event, "remove", low.WEFT_EMISS).value

    @twin
    def advance(self, version: int, *, timeout_ms: int = 0) -> Plan[int]:
        """Fences the namespace below `version`: once it returns nobody can read older blocks. The
        floor that holds now."""
        event = yield self._op(low.WEFT_OP_ADVANCE, offset=version, timeout_ms=timeout_ms)
        return self._check(event, "advance").value

    # Arrays, with their type and shape.

    @twin
    def save_array(
        self,
        key: Key,
        array: npt.ArrayLike,
        *,
        ttl_s: int = 0,
        replace: bool = False,
        timeout_ms: int = 0,
    ) -> Plan[bool]:
        """Saves an array of any shape and type but objects as a .npy part, copied once. True: this
        call published it."""
        source = np.asarray(array)
        header = npy_header(source)
        total = len(header) + source.nbytes
        flags = self._flags(replace=replace)
        event = yield self._op(
            low.WEFT_OP_RESERVE, key, flags=flags, size=total, timeout_ms=timeout_ms
        )
        if self._check(event, "save_array", low.WEFT_EEXISTS, key=key).status < 0:
            return False
        made = Reservation(self, event.handle, self._opened(event, writable=True))
        made.array[: len(header)] = np.frombuffer(header, np.uint8)
        np.copyto(npy_array(made.array), source)
        return (yield from Reservation.commit(made, ttl_s=ttl_s, timeout_ms=timeout_ms))

    @twin
    def load_array(self, key: Key, *, timeout_ms: int = 0) -> Plan[npt.NDArray[Any] | None]:
        """A copy of what save_array saved, in this or any language; None: a miss. Errors:
        InvalidError (no .npy)."""
        part = yield from Namespace.load(self, key, timeout_ms=timeout_ms)
        return None if part is None else npy_array(part, f"load_array of {named(key)}")

    @twin
    def fetch_array(self, key: Key, *, timeout_ms: int = 0) -> Plan[npt.NDArray[Any] | None]:
        """The same in place: read-only, over the cache's own memory, which it keeps while it
        lives."""
        view = yield from Namespace.fetch(self, key, timeout_ms=timeout_ms)
        return None if view is None else npy_array(view.array, f"fetch_array of {named(key)}")

    @twin
    def op(
        self,
        kind: int,
        keys: KeyList | None = None,
        /,
        *,
        each: bool = False,
        flags: int = 0,
        **fields: int,
    ) -> Plan[Event]:
        """Any op of weft.h, its event as it is, nothing raised for its status.

        keys: one key, or with flags & WEFT_LIST items, which each=True or VIEW and RESERVE write.
        fields: of weft_op, by name."""
        flags |= low.WEFT_EACH if each else 0
        if keys is not None and flags & low.WEFT_LIST:
            return (yield from self._list(kind, as_keys(keys), flags=flags, **fields))
        key = 0 if keys is None else as_keys(keys)
        return (yield self._op(kind, key, flags=flags, **fields))

    # Asking and administering, by words.

    def query(self, text: str) -> Any:
        """Store.query of this namespace."""
        self._check_open()
        return self._store.query(text, self.space)

    def layout(self) -> Any:
        """What the bytes of the blocks mean, as stored."""
        return self.query("layout")

    def explain(self, key: Key) -> Any:
        """What is known of a block: where it is, or why it is not to be had."""
        return self.query(f"explain key={_hex(key)}")

    def blocks(self, after: Key | None = None, limit: int = 100) -> Any:
        """Blocks in the order of their keys, `limit` at a time from the one after `after`. Their
        keys are hexadecimal: int(row["key"], 16) is the key."""
        return self.query(
            f"blocks limit={limit}" + ("" if after is None else f",after={_hex(after)}")
        )

    def drop(self) -> Any:
        """Ends the namespace with all its blocks."""
        return self.query("drop")

    def flush(self, version: int | None = None) -> Any:
        """Removes all blocks, or those of a version."""
        return self.query("flush" if version is None else f"flush version={version}")

    def close(self) -> None:
        """Closes it; twice is once. Errors: BusyError while views of it are held or calls on it
        wait."""
        opened = self._store._opened
        if opened is not None and self.space in opened.spaces:
            try:
                low.namespace_close(opened.handle, self.space)
            except BusyError:
                probe = object()  # views hold `opened`; so do the store and this call
                held = sys.getrefcount(opened) - sys.getrefcount(probe) - 1
                words = f"views of it are held (the store has {held}), or calls on it wait"
                raise failure(
                    low.WEFT_EBUSY, f"namespace {self.name!r}: {words}; let go of them, then close"
                ) from None
            opened.spaces.discard(self.space)
        self._open = False


def _hex(key: Key) -> str:
    high, low_word = low.split(key)
    return f"{high:016x}{low_word:016x}"
