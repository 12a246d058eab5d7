"""Errors: a class a code, with the library's words; wrong handles and closed things are codes,
never a crash."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft

HEADER = (Path(__file__).parents[2] / "capi/weft.h").read_text()


def test_every_code_of_the_header_has_its_class() -> None:
    codes = {
        name: int(value) for name, value in re.findall(r"#define WEFT_(E[A-Z]+) (\d+)", HEADER)
    }
    del codes["EACH"]
    kinds = {kind.name: kind.code for kind in weft.Error.__subclasses__()}
    assert kinds == codes
    for name, code in codes.items():
        assert weft.lowlevel.code_name(code).removeprefix("WEFT_") == name


def test_constants_and_structs_are_the_headers() -> None:
    found = re.findall(r"#define (WEFT_[A-Z_]+) (0x[0-9a-f]+|\d+)", HEADER)
    assert len(found) > 50
    for name, value in found:
        assert getattr(weft.lowlevel, name) == int(value, 0), name
    assert (weft.OP.itemsize, weft.ITEM.itemsize, weft.EVENT.itemsize) == (64, 32, 32)
    for kind, dtype in (("op", weft.OP), ("item", weft.ITEM), ("event", weft.EVENT)):
        body = re.search(rf"typedef struct weft_{kind} {{(.*?)}} weft_{kind};", HEADER, re.DOTALL)
        assert body is not None
        fields = [
            name.strip()
            for names in re.findall(r"\n    u?int\d+_t ([a-z_, ]+);", body[1])
            for name in names.split(",")
        ]
        assert list(dtype.names or ()) == fields


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(weft.InvalidError, match="colour") as caught:
        weft.Store(memory="16MiB", colour="blue")
    assert (caught.value.code, caught.value.name) == (1, "EINVAL")
    assert isinstance(caught.value, ValueError)
    with weft.Store("memory=16MiB", **{"?colour": "blue"}):
        pass
    with pytest.raises(weft.InvalidError, match="memory"):
        weft.Store(memory="a lot")


def test_a_layout_that_differs_names_both_values(store: weft.Store) -> None:
    store.namespace("tests/layout", part_bytes=4096)
    with pytest.raises(weft.InvalidError, match=r"4096.*8192|8192.*4096"):
        store.namespace("tests/layout", part_bytes=8192)


def test_text_with_commas_and_quotes_crosses(store: weft.Store) -> None:
    text = 'heads=8, "interleaved"\nand more'
    ns = store.namespace("tests/text", part_bytes=0, layout=text)
    assert text in repr(ns.layout()) or text in str(ns.layout().get("layout"))


def test_data_errors_have_words(ns: weft.Namespace) -> None:
    with pytest.raises(weft.Error, match="tests/any"):
        ns.save("k", b"")
    with pytest.raises(weft.InvalidError):
        ns.save("k", b"abc", part=70_000)
    with pytest.raises(weft.InvalidError):
        ns.save("k", b"abc", part=3)
    ns.save("k", b"abc")
    with pytest.raises(weft.RangeError):
        ns.load("k", start=50, size=10)


def test_words_name_the_block_and_what_to_do(ns: weft.Namespace) -> None:
    held = ns.reserve("k", 300)
    for act in (lambda: ns.reserve("k", 300), lambda: ns.save("k", bytes(300))):
        with pytest.raises(weft.HeldError, match=r"of 'k' in tests/any: .*wait_writer=True"):
            act()
    held.commit()
    with pytest.raises(weft.ExistsError, match=r"reserve of 'k' in tests/any: .*replace=True"):
        ns.reserve("k", 300)
    ns.save(5, b"abc")
    with pytest.raises(weft.ExistsError, match="reserve of 00000000000000000000000000000005 in"):
        ns.reserve(5, 300)


def test_numbers_that_do_not_fit_are_named(ns: weft.Namespace) -> None:
    half: Any = 0.5
    for act, words in (
        (lambda: ns.save("k", b"abc", ttl_s=half), "ttl_s=0.5: a whole number from 0 to 42949672"),
        (lambda: ns.save("k", b"abc", part=70_000), "part=70000: a whole number from 0 to 65535"),
        (lambda: ns.reserve("k", 1 << 32), "size=4294967296: a whole number"),
        (lambda: ns.advance(-1), "offset=-1: a whole number"),
        (lambda: ns.load(-1), r"key -1: an int from 0 to 2\*\*128 - 1"),
        (lambda: ns.view(1 << 128), "key 340282366920938463463374607431768211456: an int"),
        (lambda: weft.as_keys([1, -7]), "key -7: an int"),
    ):
        with pytest.raises(weft.InvalidError, match=words):
            act()


def test_held_views_are_counted(store: weft.Store, ns: weft.Namespace) -> None:
    ns.save("a", b"abc")
    ns.save("b", b"abc")
    views = [ns.view("a"), ns.view_list(["a", "b"])]
    with pytest.raises(weft.BusyError, match=r"'tests/any': views .*the store has 3"):
        ns.close()
    assert ns.match("a") == 1, "nothing is closed by a close that fails"
    queue = store.queue()
    with pytest.raises(weft.BusyError, match="1 queues of one's own are open: close them first"):
        store.close()
    queue.close()
    del views
    ns.close()


def test_a_namespace_that_is_not_there_is_told_where_it_is_not_to_be_made(
    store: weft.Store,
) -> None:
    with pytest.raises(weft.MissError, match="no namespace tests/typo"):
        store.namespace("tests/typo", create=False)
    assert store.namespaces()["namespaces"] == []
    store.namespace("tests/there", part_bytes=4096)
    assert store.namespace("tests/there", create=False).part_bytes == 4096


def test_use_after_close_is_an_error(ns: weft.Namespace, store: weft.Store) -> None:
    ns.save("k", b"abc")
    queue = store.queue()
    with pytest.raises(weft.BusyError):
        store.close()
    assert ns.match("k") == 1, "nothing is closed by a close that fails"
    queue.close()
    store.close()
    for act in (
        lambda: ns.save("k", b"abc"),
        lambda: ns.load("k"),
        lambda: ns.match("k"),
        lambda: ns.view("k"),
        lambda: ns.view_list("k"),
        lambda: ns.layout(),
        lambda: store.stats(),
        lambda: store.namespace("tests/more", part_bytes=0),
        lambda: store.queue(),
    ):
        with pytest.raises(weft.ClosedError):
            act()
    store.close()
    ns.close()


def test_a_closed_namespace_is_an_error(ns: weft.Namespace) -> None:
    ns.save("k", b"abc")
    ns.close()
    ns.close()
    for act in (
        lambda: ns.load("k"),
        lambda: ns.match("k"),
        lambda: ns.view("k"),
        lambda: ns.view_list(["k"]),
        lambda: ns.find("k"),
        lambda: ns.layout(),
    ):
        with pytest.raises(weft.ClosedError, match="namespace 'tests/any' is closed"):
            act()


def test_garbage_handles_are_refused_by_lowlevel() -> None:
    low = weft.lowlevel
    for handle in (0, 1, 2**64 - 1, 0xDEADBEEF):
        with pytest.raises((weft.InvalidError, weft.ClosedError)):
            low.match(handle, 1, np.zeros(1, weft.ITEM))
        with pytest.raises((weft.InvalidError, weft.ClosedError)):
            low.close(handle)
        with pytest.raises((weft.InvalidError, weft.ClosedError)):
            low.reap(handle, np.zeros(1, weft.EVENT), 0)
    with pytest.raises(ValueError, match="no count of 64-byte elements"):
        low.submit(0, b"short")
    with pytest.raises(BufferError):
        low.reap(0, b"\0" * 32, 0)


def test_the_queue_for_arrays_of_ops(ns: weft.Namespace, store: weft.Store) -> None:
    ns.save("k", bytes(range(64)))
    into = np.zeros((8, 64), np.uint8)
    ops = np.zeros(8, weft.OP)
    ops["tag"] = np.arange(100, 108)
    ops["kind"] = weft.lowlevel.WEFT_OP_LOAD
    ops["space"], ops["region"], ops["size"] = ns.space, store.all_memory, 64
    ops["key_hi"], ops["key_lo"] = weft.key_of("k")["key_hi"], weft.key_of("k")["key_lo"]
    ops["offset"] = into.ctypes.data + np.arange(8) * 64
    events, come = np.zeros(8, weft.EVENT), 0
    with store.queue(depth=16) as queue:
        assert queue.submit(ops) == 8
        assert queue.fd >= 0
        while come < 8:
            come += queue.reap(events[come:], 20_000)
        assert queue.reap(events, 0) == 0
    assert sorted(events["tag"].tolist()) == list(range(100, 108))
    assert set(events["value"].tolist()) == {64}
    assert (into == np.arange(64)).all()
