"""How many blocks of a prompt Weft holds, for all KV groups together, and pins on them.

A hit of n blocks needs the first n blocks of every full-attention group, and of a sliding-window
group the last `window` before n. The full groups say how far a hit can go; then the windows are
tried there, and where one lacks a block the hit is cut back to where it has them, until all agree.
What is pinned stays loadable by every rank until the pins are released or their time is over."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence

from .. import lowlevel as low
from ..errors import Error, QuotaError, TimedOutError
from ..holds import Claim, Found, Held
from ..keys import Keys
from ..namespace import Namespace
from ..twin import Plan
from .groups import Group

TIMEOUT_MS = 1000  # of a question to the node; later the request is computed


def let_go(held: Held) -> None:
    """Releases a pin or a claim; one that ended with its node is released already."""
    with contextlib.suppress(Error):
        held.release()


@dataclasses.dataclass
class Hit:
    """Blocks [start, end) of a request can be loaded. reason: why the next one can't."""

    start: int
    end: int
    reason: str | None
    pins: list[Held]
    claim: Claim | None = None

    def release(self) -> None:
        """Lets go of the pins."""
        for pin in self.pins:
            let_go(pin)
        self.pins = []


def _find(space: Namespace, keys: Keys, pin_s: int) -> Plan[Found]:
    try:
        return (
            yield from Namespace.find(space, keys, pin=True, ttl_s=pin_s, timeout_ms=TIMEOUT_MS)
        )
    except QuotaError:  # the limit of pins: the match may then be evicted before it is loaded
        return (yield from Namespace.find(space, keys, timeout_ms=TIMEOUT_MS))


def _last_run(present: Sequence[bool], window: int) -> int:
    """The largest n below len(present) such that the `window` items before n are present (all of
    them where n is less than the window)."""
    for end in range(len(present) - 1, 0, -1):
        if all(present[max(0, end - window) : end]):
            return end
    return 0


def _windowed(
    space: Namespace, window: int, keys: Keys, start: int, end: int, pin_s: int
) -> Plan[tuple[int, Held | None]]:
    """How far up to `end` this window group can serve, and the pin on what it needs there."""
    found = yield from _find(space, keys[max(start, end - window) : end], pin_s)
    if found.reason is None:
        return end, found
    let_go(found)
    items = keys[start:end].copy()
    event = yield from Namespace.op(
        space, low.WEFT_OP_MATCH, items, flags=low.WEFT_LIST, each=True, timeout_ms=TIMEOUT_MS
    )
    space._check(event, "match")
    return start + _last_run((items["status"] >= 0).tolist(), window), None


def look_up(
    spaces: Sequence[Namespace],
    groups: Sequence[Group],
    keys: Keys,
    start: int,
    end: int,
    pin_s: int,
) -> Plan[Hit]:
    """The longest hit from block `start` to at most `end`; keys: of the request from block 0."""
    full: list[Held] = []
    reason: str | None = None
    for space, group in zip(spaces, groups, strict=True):
        if not group.window and end > start:
            found = yield from _find(space, keys[start:end], pin_s)
            full.append(found)
            if found.reason is not None:
                end, reason = start + found.blocks, found.reason
    windows = [(space, group) for space, group in zip(spaces, groups, strict=True) if group.window]
    pins: list[Held] = []
    agreed = 0
    while windows and end > start and agreed < len(windows):
        space, group = windows[agreed]
        reached, pin = yield from _windowed(space, group.window, keys, start, end, pin_s)
        if pin is not None:
            pins.append(pin)
            agreed += 1
        else:
            end, agreed, reason = reached, 0, reason or "absent"
            for held in pins:
                let_go(held)
            pins = []
    hit = Hit(start, end, reason, full + pins)
    if end <= start:
        hit.end = start
        hit.release()
    return hit


def alone(
    spaces: Sequence[Namespace],
    groups: Sequence[Group],
    keys: Keys,
    start: int,
    end: int,
    pin_s: int,
    wait_s: float,
) -> Plan[Hit]:
    """As look_up, but of engines that lack the same blocks one gets the claim to compute them and
    the others wait for it, at most `wait_s`; then each computes for itself."""
    until = time.monotonic() + wait_s
    while True:
        hit = yield from look_up(spaces, groups, keys, start, end, pin_s)
        left_ms = int(1000 * (until - time.monotonic()))
        if hit.end >= end or left_ms <= 0:
            return hit
        try:
            claim = yield from Namespace.claim(spaces[0], keys[hit.end : end], timeout_ms=left_ms)
        except TimedOutError:
            return hit
        if claim is not None and claim.first == 0:
            hit.claim = claim
            return hit
        hit.release()  # some came meanwhile
        if claim is not None:
            hit = yield from look_up(spaces, groups, keys, start, end, pin_s)
            hit.claim = claim
            return hit
