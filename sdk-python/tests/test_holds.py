"""Reservations, pins and claims: what is held, and that it is let go."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import weft


def test_a_reservation_is_written_in_place_and_published_at_the_end(ns: weft.Namespace) -> None:
    with ns.reserve("k", 5000) as reservation:
        assert reservation.array.shape == (5000,)
        reservation.array[:] = 7
        assert ns.view("k") is None, "it is not there before its end"
    with pytest.raises(weft.ClosedError):
        reservation.array[:] = 8
    loaded = ns.load("k")
    assert loaded is not None
    assert loaded.tolist() == [7] * 5000
    with pytest.raises(weft.ExistsError):
        ns.reserve("k", 5000)


def test_an_exception_or_a_forgotten_reservation_aborts(ns: weft.Namespace) -> None:
    with pytest.raises(ZeroDivisionError), ns.reserve("k", 300) as reservation:
        reservation.array[:] = 1 // 0
    assert ns.load("k") is None
    forgotten = ns.reserve("k", 300)
    with pytest.raises(weft.HeldError):
        ns.reserve("k", 300)
    del forgotten
    assert ns.save("k", b"now") is True


def test_a_list_that_is_opened_in_part_is_let_go_before_its_error_is_seen(
    ns: weft.Namespace,
) -> None:
    keys = ["a", "b", "c"]
    held = ns.reserve("b", 300)
    try:
        ns.reserve_list(keys, 300)
    except weft.HeldError:
        with ns.reserve("a", 300) as again:  # while the traceback still holds everything
            again.array[:] = 1
    assert ns.match(["a"]) == 1
    held.abort()


def test_a_namespace_with_an_open_reservation_is_busy(store: weft.Store) -> None:
    space = store.namespace("tests/busy", part_bytes=0)
    held = space.reserve("k", 300)
    with pytest.raises(weft.BusyError):
        space.close()
    held.array[:] = 3
    assert held.commit()
    space.close()


def test_whatever_is_left_at_exit_says_nothing() -> None:
    code = (
        "import sys, weft; s = weft.Store(memory='16MiB'); n = s.namespace('a/b', part_bytes=0);"
        "r = n.reserve('k', 300); sys.modules['kept'] = [n, r]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_commit_and_abort_twice_do_nothing(ns: weft.Namespace) -> None:
    reservation = ns.reserve("k", 300)
    assert reservation.commit(ttl_s=60) is True
    assert reservation.commit() is False
    reservation.abort()
    assert ns.match("k") == 1


def test_lists_are_reserved_but_for_what_is_there(ns: weft.Namespace) -> None:
    keys = weft.keys(range(64), block_tokens=16)
    ns.save(keys[1], np.full(512, 9, np.uint8))
    with ns.reserve_list(keys, 512) as reservation:
        assert [array is None for array in reservation.arrays] == [False, True, False, False]
        for at, array in enumerate(reservation.arrays):
            if array is not None:
                array[:] = at
    assert ns.match(keys) == 4
    assert [int(array[0]) for array in ns.view_list(keys).arrays] == [0, 9, 2, 3]


def test_followers_are_told_one_by_one_that_another_writer_came(ns: weft.Namespace) -> None:
    first = ns.reserve("k", 4096)
    first.final(1024)
    for follower in (1, 2):
        assert ns.load("k", size=1024, follow=True, follower=follower) is not None
    first.abort()
    second = ns.reserve("k", 4096)
    second.final(2048)
    for follower in (1, 2):
        assert ns.load("k", start=1024, size=1024, follow=True, follower=follower) is None
        assert ns.load("k", size=2048, follow=True, follower=follower) is not None
    second.abort()


def test_a_follower_sees_what_is_final(ns: weft.Namespace) -> None:
    writer = ns.reserve("k", 4096)
    view = ns.fetch("k", follow=True)
    assert view is not None
    writer.array[:1024] = 1
    writer.final(1024)
    assert ns.wait("k", follow=True, start=0, size=1024) is True
    assert int(view.array[:1024].min()) == 1
    with pytest.raises(weft.TimedOutError) as caught:
        ns.wait("k", follow=True, start=1024, size=1024, timeout_ms=30)
    assert isinstance(caught.value, TimeoutError)
    writer.abort()
    assert ns.wait("k", follow=True, start=0, size=4096) is False, "its writer gave up"


def test_a_pin_keeps_blocks_until_it_is_released(store: weft.Store) -> None:
    ns = store.namespace("tests/pins", part_bytes=0)
    keys = weft.keys(range(64), block_tokens=16)
    rows = np.ones((4, 1 << 20), np.uint8)
    ns.save_list(keys, rows)
    with ns.find(keys, pin=True, ttl_s=600) as found:
        assert found.blocks == 4
        for at in range(150):
            ns.save(f"other {at}", np.zeros(1 << 20, np.uint8))
        assert ns.load_list(keys, np.zeros_like(rows)) == 4
    found.release()


def test_claims_compute_once(ns: weft.Namespace) -> None:
    keys = weft.keys(range(64), block_tokens=16)
    computed: list[int] = []

    def ask() -> None:
        claim = ns.claim(keys)
        if claim is not None:
            with claim:
                computed.extend(range(claim.first, 4))
                ns.save_list(keys[claim.first :], np.ones((4 - claim.first, 256), np.uint8))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(computed) == [0, 1, 2, 3]
    assert ns.match(keys) == 4
    assert ns.claim(keys) is None


def test_a_released_claim_goes_to_the_next(ns: weft.Namespace) -> None:
    keys = weft.keys(range(32), block_tokens=16)
    ns.save(keys[0], b"x" * 256)
    first = ns.claim(keys)
    assert first is not None
    assert first.first == 1
    with pytest.raises(weft.TimedOutError):
        ns.claim(keys, timeout_ms=30)
    first.release()
    second = ns.claim(keys)
    assert second is not None
    assert second.first == 1


def test_unfinished_saves_are_dropped(store: weft.Store) -> None:
    ns = store.namespace("tests/half", parts=2, part_bytes=512)
    ns.save("k", b"a" * 512, part=0)
    assert ns.find("k").reason == "partial"
    ns.drop_unfinished("k")
    assert ns.save("k", b"b" * 512, part=0) is False
    assert ns.save("k", b"b" * 512, part=1) is True
    loaded = ns.load("k")
    assert loaded is not None
    assert loaded.tobytes() == b"b" * 512
