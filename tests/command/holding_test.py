"""What a node tells of what is held and of what left: each number after the deed that makes it, in
the metrics and in `weft stats --processes`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import holder
from holder import Holder
from node import LIMIT_S
from scraping import Measured, scrape

OK, MISS = 0, 3
MIB = 1 << 20


class Holding(Measured):
    def opened(self, name: str, options: str = "part_bytes=4096") -> Holder:
        held = Holder(self.node.address, name, options)
        self.addCleanup(held.close)
        return held

    def metric(self, name: str, space: str, **labels: str) -> float:
        words = [f'{key}="{value}"' for key, value in {"namespace": space, **labels}.items()]
        return scrape(self.node).of(f"weft_{name}", ",".join(words))

    def metrics(self, space: str, *names: str) -> dict[str, float]:
        got = scrape(self.node)
        return {name: got.of(f"weft_{name}", f'namespace="{space}"') for name in names}

    def held(self, space: str) -> Any:
        """The row of this process; none: it holds nothing and has nothing open."""
        rows = self.node.json("stats", "--processes")["processes"]
        found = [row for row in rows if row["pid"] == os.getpid() and row["namespace"] == space]
        self.assertLessEqual(len(found), 1)
        return found[0] if found else None

    def until(self, what: Callable[[], object], wanted: object) -> None:
        """What a reader lets go, or a time ends, the node sees a moment later."""
        end = time.monotonic() + LIMIT_S
        while (got := what()) != wanted and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(got, wanted)

    def test_each_block_that_left_to_make_room_is_counted_and_is_a_miss_evicted(self) -> None:
        names = [f"n{i}" for i in range(9)]
        layout = ["--layout", f"parts=1,part_bytes=0,quota={4 * MIB}"]
        for name in names:
            self.node.json("put", "h/evicted", "-", "--name", name, *layout, stdin=bytes(MIB))
        gone = [
            name
            for name in names
            if self.node.run("get", "h/evicted", "--name", name).returncode == MISS
        ]
        self.assertGreaterEqual(len(gone), 5)  # the quota has room for four at most
        self.assertEqual(gone, names[: len(gone)])
        self.assertEqual(
            self.metrics("h/evicted", "blocks", "saved_blocks_total", "evicted_blocks_total"),
            {
                "blocks": len(names) - len(gone),
                "saved_blocks_total": len(names),
                "evicted_blocks_total": len(gone),
            },
        )
        self.assertEqual(self.metric("misses_total", "h/evicted", reason="evicted"), len(gone))
        self.assertEqual(self.metric("misses_total", "h/evicted", reason="absent"), 0)

    def test_an_attempt_is_one_while_it_is_written_and_its_slot_is_quarantined_after(self) -> None:
        writer = self.opened("h/attempts", "part_bytes=4096,write_s=2")
        names = ("attempts", "abandoned_attempts_total", "quarantined_slots", "blocks")

        def told() -> tuple[float, ...]:
            return tuple(self.metrics("h/attempts", *names).values())

        first = writer.done(holder.RESERVE, key_lo=1)
        second = writer.done(holder.RESERVE, key_lo=2)
        self.assertEqual(told(), (2, 0, 0, 0))
        row = self.held("h/attempts")
        self.assertEqual((row["writing"], row["quarantined"]), (2, 0))
        self.assertEqual(row["writing_bytes"], 2 * 4096)
        writer.done(holder.COMMIT, offset=first.handle)
        self.assertEqual(told(), (1, 0, 0, 1))
        # Two seconds later the other's key is free; its slot is not, before its writer says so.
        self.until(told, (0, 1, 1, 1))
        row = self.held("h/attempts")
        self.assertEqual((row["writing"], row["quarantined"]), (0, 1))
        self.assertEqual(row["quarantined_bytes"], 4096)
        writer.op(holder.ABORT, offset=second.handle)
        self.until(told, (0, 1, 0, 1))

    def test_pins_are_counted_while_they_are_held(self) -> None:
        reader = self.opened("h/pins")
        for key in range(4):
            reader.save(key)
        limit = scrape(self.node).of("weft_pinned_blocks_limit")
        self.assertGreater(limit, 3)

        def pinned() -> tuple[float, int]:
            now = scrape(self.node)
            of_it = now.of("weft_namespace_pinned_blocks", 'namespace="h/pins"')
            self.assertEqual(now.of("weft_pinned_blocks"), of_it)  # nobody else pins
            return of_it, self.held("h/pins")["pinned"]

        self.assertEqual(pinned(), (0, 0))
        pin = reader.pin([0, 1, 2])
        self.assertEqual(pinned(), (3, 3))
        self.assertEqual(self.held("h/pins")["pinned_bytes"], 3 * 4096)
        other = reader.pin([3])
        self.assertEqual(pinned(), (4, 4))
        reader.release(pin)
        self.until(pinned, (1, 1))
        reader.release(other)
        self.until(pinned, (0, 0))

    def test_views_are_their_holders_and_keep_slots_in_limbo(self) -> None:
        reader = self.opened("h/views")
        for key in range(3):
            reader.save(key)
        self.assertEqual(self.held("h/views")["viewed"], 0)
        views = [reader.done(holder.VIEW, key_lo=key).handle for key in (0, 1, 1)]
        row = self.held("h/views")
        self.assertEqual((row["viewed"], row["viewed_bytes"]), (2, 2 * 4096))  # each block once
        self.assertEqual((row["process"][:6], row["connected"]), ("python", True))
        names = ("removed_blocks_total", "limbo_slots", "blocks")

        def told() -> tuple[float, ...]:
            return tuple(self.metrics("h/views", *names).values())

        reader.done(holder.REMOVE, key_lo=0)
        reader.done(holder.REMOVE, key_lo=2)
        self.until(told, (2, 1, 1))
        for view in views:
            reader.release(view)
        self.until(lambda: self.held("h/views")["viewed"], 0)
        reader.save(5)  # a slot is looked for, and the node sees which are free
        self.until(lambda: self.metric("limbo_slots", "h/views"), 0)

    def test_claims_and_who_waits_for_them_are_counted(self) -> None:
        claimer, waiter = self.opened("h/claims"), self.opened("h/claims")

        def told() -> tuple[float, ...]:
            return tuple(self.metrics("h/claims", "claims", "waiting_blocks").values())

        claim = claimer.op(holder.WAIT, key_lo=1, flags=holder.CLAIM)
        self.assertEqual(claim.status, holder.EMISS)
        self.assertEqual(told(), (1, 0))
        waiter.submit(holder.WAIT, key_lo=1, flags=holder.CLAIM)
        self.until(told, (1, 1))
        claimer.save(1)
        self.until(told, (0, 0))

    def test_what_is_replaced_fenced_and_expired_is_counted_apart(self) -> None:
        writer = self.opened("h/left")
        writer.save(1)
        writer.save(1, flags=holder.REPLACE)
        writer.save(2, ttl_s=1)
        names = ("replaced", "expired", "removed", "fenced")
        each = [f"{name}_blocks_total" for name in names]

        def told() -> tuple[float, ...]:
            return tuple(self.metrics("h/left", *each).values())

        self.until(told, (1, 1, 0, 0))
        writer.done(holder.REMOVE, key_lo=1)
        self.assertEqual(told(), (1, 1, 1, 0))
        for key in range(3, 6):
            writer.save(key)
        self.node.json("advance", "h/left", "3")
        self.until(told, (1, 1, 1, 3))
        self.assertEqual(self.metric("floor_version", "h/left"), 3)
        self.assertEqual(self.metric("blocks", "h/left"), 0)
