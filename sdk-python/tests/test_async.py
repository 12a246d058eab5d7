"""asyncio: twins give what calls give, wait together, are canceled, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc

import numpy as np
import pytest

import weft


def test_twins_do_what_calls_do(ns: weft.Namespace) -> None:
    async def main() -> None:
        keys = weft.keys(range(64), block_tokens=16)
        rows = np.arange(4 * 300, dtype=np.uint8).reshape(4, 300)
        assert await ns.save.aio("k", b"abc") is True
        assert await ns.save.aio("k", b"xyz") is False
        loaded = await ns.load.aio("k")
        assert loaded is not None
        assert loaded.tobytes() == b"abc"
        assert await ns.load.aio("absent") is None
        assert await ns.save_list.aio(keys, rows) == 4
        assert (await ns.find.aio(keys)).blocks == 4
        async with await ns.reserve.aio("r", 100) as reservation:
            reservation.array[:] = 5
        view = await ns.fetch.aio("r")
        assert view is not None
        assert view.array.tolist() == [5] * 100
        await ns.save_array.aio("a", rows)
        array = await ns.load_array.aio("a")
        assert array is not None
        assert np.array_equal(array, rows)
        with pytest.raises(weft.ExistsError):
            await ns.reserve.aio("r", 100)

    asyncio.run(main())


def test_thousands_at_once_wait_for_room(ns: weft.Namespace) -> None:
    async def one(at: int) -> bool:
        await ns.save.aio(f"k{at}", at.to_bytes(4, "little") * 64)
        loaded = await ns.load.aio(f"k{at}")
        return loaded is not None and loaded[:4].tobytes() == at.to_bytes(4, "little")

    async def main() -> None:
        assert all(await asyncio.gather(*(one(at) for at in range(5000))))

    asyncio.run(main())


def test_a_waiting_call_does_not_stop_the_loop(ns: weft.Namespace) -> None:
    async def main() -> None:
        held = await ns.reserve.aio("k", 300)
        waiting = asyncio.ensure_future(ns.wait.aio("k", timeout_ms=60_000))
        ticks = 0
        while ticks < 5:
            await asyncio.sleep(0.01)
            ticks += 1
        assert not waiting.done()
        await held.commit.aio()
        assert await waiting is True

    asyncio.run(main())


def test_cancelling_ends_the_op_and_gives_back_what_it_opened(ns: weft.Namespace) -> None:
    async def main() -> None:
        held = await ns.reserve.aio("k", 300)
        waiting = asyncio.ensure_future(
            ns.reserve.aio("k", 300, wait_writer=True, timeout_ms=60_000)
        )
        claims = asyncio.ensure_future(ns.claim.aio("k", timeout_ms=60_000))
        await asyncio.sleep(0.05)
        assert waiting.cancel()
        assert claims.cancel()
        await held.abort.aio()
        for task in (waiting, claims):
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.sleep(0.05)
        gc.collect()
        assert await ns.save.aio("k", b"free again", timeout_ms=20_000) is True

    asyncio.run(main())


def test_a_timeout_around_a_call(ns: weft.Namespace) -> None:
    async def main() -> None:
        held = await ns.reserve.aio("k", 300)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ns.wait.aio("k", timeout_ms=60_000), 0.05)
        await held.commit.aio()
        assert await ns.wait.aio("k") is True

    asyncio.run(main())


def test_each_loop_has_its_queue(ns: weft.Namespace) -> None:
    async def main(at: int) -> None:
        await ns.save.aio(f"k{at}", b"x" * 100)

    for at in range(20):
        asyncio.run(main(at))
    assert ns.match([f"k{at}" for at in range(20)]) == 20


def test_closing_ends_calls_in_flight(address: str) -> None:
    async def main() -> None:
        store = await asyncio.to_thread(weft.Store, memory="16MiB")
        async with store:
            ns = store.namespace("tests/close", part_bytes=0)
            held = await ns.reserve.aio("k", 300)
            waiting = asyncio.ensure_future(ns.wait.aio("k", timeout_ms=60_000))
            await asyncio.sleep(0.05)
        with pytest.raises((weft.ClosedError, weft.CanceledError)):
            await waiting
        with pytest.raises(weft.ClosedError):
            await ns.load.aio("k")
        del held

    asyncio.run(main())


def test_a_loop_that_ended_amid_a_call_leaves_no_op_behind(ns: weft.Namespace) -> None:
    async def main() -> None:
        left = asyncio.ensure_future(ns.wait.aio("k", timeout_ms=60_000))
        await asyncio.sleep(0.02)
        assert not left.done()

    held = ns.reserve("k", 300)
    asyncio.run(main())
    assert held.commit() is True
