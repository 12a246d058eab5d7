"""Saving and loading: any buffer, ranges, parts, lists, replacement, and misses with their
reasons."""

from __future__ import annotations

import array
import mmap

import numpy as np
import pytest

import weft


def test_saves_and_loads_any_contiguous_buffer(ns: weft.Namespace) -> None:
    shared = mmap.mmap(-1, 4096)
    shared[:5] = b"bytes"
    buffers = {
        "bytes": b"x" * 300,
        "bytearray": bytearray(b"y" * 5000),
        "array": array.array("I", range(100)),
        "memoryview": memoryview(b"z" * 77)[7:],
        "mmap": shared,
        "matrix": np.arange(600, dtype=np.float64).reshape(20, 30),
        "column": np.asfortranarray(np.arange(6.0).reshape(2, 3)).T,
        "one number": np.array(3.5),
    }
    for name, buffer in buffers.items():
        assert ns.save(name, buffer) is True
        loaded = ns.load(name)
        assert loaded is not None
        assert loaded.tobytes() == memoryview(buffer).tobytes(), name
        assert loaded.flags.writeable


def test_a_buffer_that_is_not_contiguous_or_not_writable_is_refused(ns: weft.Namespace) -> None:
    ns.save("k", b"abc")
    with pytest.raises(ValueError, match="not contiguous"):
        ns.save("other", np.zeros((4, 4))[:, 1:])
    with pytest.raises(ValueError, match="read-only"):
        ns.load("k", b"   ")
    assert ns.load("other") is None


def test_a_part_of_any_size_is_loaded_with_its_checksum_checked(ns: weft.Namespace) -> None:
    for size in (1, 300, 65536, 65537, 3_000_000):
        written = np.arange(size, dtype=np.uint32).astype(np.uint8)
        ns.save(f"of {size}", written)
        loaded = ns.load(f"of {size}", verify=True)
        assert loaded is not None
        assert np.array_equal(loaded, written)
    assert ns.load("of 7", verify=True) is None


def test_loads_into_own_memory_and_says_how_much(ns: weft.Namespace) -> None:
    ns.save("k", bytes(range(100)))
    room = np.zeros((16, 16), np.uint8)
    found = ns.load("k", room)
    assert found is not None
    assert len(found) == 100
    assert np.shares_memory(found, room)
    assert room.reshape(-1)[:100].tolist() == list(range(100))
    assert room.reshape(-1)[100:].max() == 0
    small = bytearray(10)
    taken = ns.load("k", small, start=40)
    assert taken is not None
    assert small == bytes(range(40, 50))
    middle = ns.load("k", start=90, size=5)
    assert middle is not None
    assert middle.tolist() == [90, 91, 92, 93, 94]


def test_a_block_larger_than_the_first_guess_is_loaded_whole(ns: weft.Namespace) -> None:
    data = np.random.default_rng(1).integers(0, 256, 3_000_001, np.uint8)
    ns.save("large", data)
    loaded = ns.load("large")
    assert loaded is not None
    assert np.array_equal(loaded, data)


def test_a_second_save_changes_nothing_unless_it_replaces(ns: weft.Namespace) -> None:
    assert ns.save("k", b"first") is True
    assert ns.save("k", b"other") is False
    assert bytes(ns.load("k")) == b"first"  # type: ignore[arg-type]
    assert ns.save("k", b"third", replace=True) is True
    assert bytes(ns.load("k")) == b"third"  # type: ignore[arg-type]


def test_a_miss_is_none_and_has_a_reason(ns: weft.Namespace) -> None:
    assert ns.load("nothing") is None
    assert ns.view("nothing") is None
    assert ns.fetch("nothing") is None
    assert ns.find("nothing").reason == "absent"
    ns.save("gone", b"abc")
    assert ns.remove("gone") == 1
    assert ns.load("gone") is None
    ns.save("k", b"abc")
    found = ns.find(["k", "nothing"])
    assert (found.blocks, found.reason) == (1, "absent")
    assert (ns.find("k").blocks, ns.find("k").reason) == (1, None)


def test_lists_take_one_buffer_of_rows_or_many_buffers(ns: weft.Namespace) -> None:
    keys = weft.keys(range(80), block_tokens=16)
    rows = np.arange(5 * 256, dtype=np.uint16).reshape(5, 256)
    assert ns.save_list(keys, rows) == 5
    assert ns.save_list(keys, rows) == 5, "blocks that are there count as done"
    assert ns.match(keys) == 5
    into = np.zeros_like(rows)
    assert ns.load_list(keys, into) == 5
    assert np.array_equal(into, rows)
    many = [bytearray(512) for _ in range(5)]
    assert ns.load_list(keys, many) == 5
    assert b"".join(many) == rows.tobytes()
    assert ns.save_list(["a", "b"], [b"1", b"22"], chain=False) == 2
    assert bytes(ns.load("b")) == b"22"  # type: ignore[arg-type]


def test_a_list_stops_at_its_first_gap(ns: weft.Namespace) -> None:
    keys = weft.keys(range(64), block_tokens=16)
    ns.save_list(keys[:2], np.ones((2, 300), np.uint8))
    ns.save(keys[3], np.ones(300, np.uint8))
    assert ns.match(keys) == 2
    assert len(ns.view_list(keys)) == 2
    assert ns.load_list(keys, np.zeros((4, 300), np.uint8)) == 2
    assert ns.find(keys).reason == "absent"
    assert len(ns.fetch_list(keys)) == 2


def test_empty_lists_and_wrong_counts(ns: weft.Namespace) -> None:
    none = weft.keys([], block_tokens=16)
    assert len(none) == 0
    assert ns.match(none) == 0
    assert ns.save_list(none, b"") == 0
    assert ns.find(none).blocks == 0
    with pytest.raises(weft.InvalidError, match="3 buffers for 2 keys"):
        ns.save_list(["a", "b"], [b"1", b"2", b"3"])
    with pytest.raises(weft.InvalidError, match="not 2 equal rows"):
        ns.save_list(["a", "b"], b"123")


def test_parts_make_a_block_together(store: weft.Store) -> None:
    ns = store.namespace("tests/parts", parts=2, part_bytes=[4096, 1024])
    assert (ns.parts, ns.part_bytes) == (2, 4096)
    assert ns.save("k", b"0" * 4096, part=0) is False, "the other part lacks"
    assert ns.view("k") is None
    assert ns.save("k", b"1" * 1024, part=1) is True
    second = ns.load("k", part=1)
    assert second is not None
    assert second.tobytes() == b"1" * 1024
    view = ns.view("k", part=1)
    assert view is not None
    assert len(view) == 1024


def test_keys_are_strings_numbers_and_items(ns: weft.Namespace) -> None:
    number = (7 << 64) | 9
    ns.save(number, b"by number")
    item = weft.as_keys(number)
    assert (int(item["key_hi"][0]), int(item["key_lo"][0])) == (7, 9)
    for key in (number, item, item[0], (7 << 64) + 9):
        loaded = ns.load(key)
        assert loaded is not None
        assert loaded.tobytes() == b"by number"
    ns.save("name", b"by name")
    assert ns.match(weft.key_of("name")) == 1
    assert ns.match(["name", number]) == 2
    for wrong in (b"bytes", 1.5, None, 1 << 128, -1, np.zeros(2, weft.ITEM)):
        with pytest.raises((TypeError, weft.InvalidError)):
            ns.load(wrong)  # type: ignore[arg-type]


def test_touch_remove_and_the_catalogue(ns: weft.Namespace) -> None:
    keys = weft.keys(range(32), block_tokens=16)
    ns.save_list(keys, np.ones((2, 256), np.uint8), ttl_s=3600, reuse="maybe")
    assert ns.touch(keys, reuse="soon", ttl_s=60) == 2
    assert ns.remove(keys[1]) == 1
    assert ns.match(keys) == 1
    with pytest.raises(weft.InvalidError, match="reuse='often'"):
        ns.touch(keys, reuse="often")


def test_questions_are_answered_in_python_values(ns: weft.Namespace, store: weft.Store) -> None:
    for name in ("a", "b", "c"):
        ns.save(name, name.encode() * 300)
    assert ns.layout()["part_bytes"] == "0"
    assert ns.explain("a")["there"] is True
    assert ns.explain("nothing")["reason"] == "absent"
    first = ns.blocks(limit=2)["blocks"]
    rest = ns.blocks(after=int(first[-1]["key"], 16))["blocks"]
    keys = [int(row["key"], 16) for row in first + rest]
    assert len(keys) == 3
    assert ns.match(keys) == 3
    assert [one["name"] for one in store.namespaces()["namespaces"]] == ["tests/any"]
    assert store.stats()["namespaces"][0]["blocks"] == 3
    assert store.about()["abi"] == weft.lowlevel.WEFT_ABI
    assert ns.flush()["removed"] == 3
    assert ns.match(keys) == 0
    assert ns.drop()["dropped"] == "tests/any"


def test_advance_fences_what_is_open(store: weft.Store) -> None:
    before = store.namespace("tests/fence", part_bytes=0, version=1)
    before.save("k", b"from version 1")
    assert before.advance(2) == 2
    with pytest.raises(weft.FencedError) as caught:
        before.load("k")
    assert caught.value.name == "EFENCED"
    with pytest.raises(weft.FencedError):
        before.view("k")
    after = store.namespace("tests/fence", part_bytes=0)
    assert (after.version, after.floor) == (2, 2)
    assert after.load("k") is None
    assert after.find("k").reason == "fenced"


def test_any_op_by_its_number(ns: weft.Namespace) -> None:
    low = weft.lowlevel
    ns.save("k", b"abcdef")
    event = ns.op(low.WEFT_OP_MATCH, "k")
    assert (event.status, event.value) == (0, 1)
    items = weft.as_keys(["k", "absent"])
    event = ns.op(low.WEFT_OP_MATCH, items, flags=low.WEFT_LIST, each=True)
    assert (event.value, event.detail) == (1, low.WEFT_MISS_ABSENT)
    assert items["size"][0] == 6
    assert ns.op(63).status == -low.WEFT_EINVAL


def test_an_array_of_other_rows_than_keys_is_refused() -> None:
    with weft.Store(memory="16MiB") as store, store.namespace("a/b", part_bytes=0) as space:
        keys = weft.keys(range(64), block_tokens=16)
        with pytest.raises(weft.InvalidError, match="3 rows"):
            space.save_list(keys, np.zeros((3, 100), np.uint8))
        assert space.match(keys) == 0


def test_what_is_no_buffer_is_named() -> None:
    with (
        weft.Store(memory="16MiB") as store,
        store.namespace("a/b", part_bytes=0) as space,
        pytest.raises(TypeError, match="not list"),
    ):
        space.save("k", [1, 2, 3])  # type: ignore[arg-type]
