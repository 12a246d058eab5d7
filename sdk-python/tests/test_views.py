"""Views: the cache's own memory, read-only, whole as long as anything looks at it."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import weft

BLOCK = np.arange(4096, dtype=np.uint8)


def view_of(ns: weft.Namespace, key: weft.Key) -> weft.View:
    view = ns.view(key)
    assert view is not None
    return view


def test_arrays_are_read_only_and_not_copies(ns: weft.Namespace) -> None:
    ns.save("k", BLOCK)
    view = view_of(ns, "k")
    array = view.array
    assert array.dtype == np.uint8
    assert array.shape == (4096,)
    assert not array.flags.writeable
    assert not array.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    assert memoryview(view).readonly
    assert np.shares_memory(array, view_of(ns, "k").array), "two views are one memory"
    assert np.asarray(view).tobytes() == bytes(view) == BLOCK.tobytes()
    assert (view[3], view[3:6].tolist(), len(view)) == (3, [3, 4, 5], 4096)
    assert array.ctypes.data % max(ns.alignment, 1) == 0


def test_dlpack_shares_memory_and_says_read_only(ns: weft.Namespace) -> None:
    ns.save("k", BLOCK)
    view = view_of(ns, "k")
    taken = np.from_dlpack(view)
    assert np.shares_memory(taken, view.array)
    assert not taken.flags.writeable
    shaped = np.from_dlpack(view.array.view(np.float16).reshape(2, -1))
    assert shaped.shape == (2, 1024)
    assert not shaped.flags.writeable
    with pytest.raises(BufferError):
        view.__dlpack__()  # a consumer older than DLPack 1.0 could not see the flag
    assert view.__dlpack_device__() == (1, 0)


def test_a_consumer_without_the_flag_takes_it_by_name(ns: weft.Namespace) -> None:
    ns.save("k", BLOCK)
    view = view_of(ns, "k")
    capsule = view.unflagged.__dlpack__()
    assert 'capsule object "dltensor"' in repr(capsule)
    view.release()
    ns.remove("k")
    del view, capsule
    assert ns.view("k") is None


def test_torch_takes_views_without_a_copy(ns: weft.Namespace) -> None:
    torch = pytest.importorskip("torch")
    ns.save("k", BLOCK)
    view = view_of(ns, "k")
    tensor = torch.from_dlpack(view)
    assert tensor.data_ptr() == view.array.ctypes.data
    view.release()
    del view
    ns.remove("k")
    assert tensor.sum() == int(BLOCK.sum())
    assert ns.save("from torch", torch.arange(16)) is True


def test_jax_takes_views_without_a_copy(ns: weft.Namespace) -> None:
    dlpack = pytest.importorskip("jax.dlpack")
    ns.save("k", BLOCK)
    view = view_of(ns, "k")
    taken = dlpack.from_dlpack(view.unflagged)
    assert taken.unsafe_buffer_pointer() == view.array.ctypes.data
    view.release()
    del view
    ns.remove("k")
    assert int(taken.sum()) == int(BLOCK.sum())
    assert ns.save("from jax", taken) is True


def test_an_array_keeps_its_block_whatever_becomes_of_it(ns: weft.Namespace) -> None:
    ns.save("k", BLOCK)
    array = view_of(ns, "k").array[8:].view(np.uint64)[1:]
    ns.remove("k")
    assert ns.view("k") is None
    for at in range(200):  # more than the store's memory: every slot that is free is used again
        ns.save(f"other {at}", np.full(1 << 20, 255, np.uint8))
    assert array.tobytes() == BLOCK[16:].tobytes()


def test_release_waits_for_the_last_array(ns: weft.Namespace) -> None:
    ns.save("k", BLOCK)
    view = view_of(ns, "k")
    array = view.array
    view.release()
    view.release()
    assert view.released
    with pytest.raises(BufferError, match="released"):
        memoryview(view)
    ns.remove("k")
    for at in range(100):
        ns.save(f"other {at}", np.full(1 << 20, 255, np.uint8))
    assert np.array_equal(array, BLOCK)


def test_views_are_given_back(store: weft.Store) -> None:
    """More views than the limit one after another; none is left over by any way to let one go."""
    ns = store.namespace("tests/limit", part_bytes=0)
    keys = weft.as_keys([f"k{at}" for at in range(16)])
    ns.save_list(keys, np.ones((16, 256), np.uint8), chain=False)
    for at in range(6000):
        view = ns.view(keys[at % 16])
        assert view is not None, f"view {at} of one held at a time"
        if at % 3 == 0:
            view.release()
        elif at % 3 == 1:
            with view:
                assert view.array[0] == 1
    for at in range(600):
        views = ns.view_list(keys)
        assert len(views) == 16, f"list {at}"
        if at % 2:
            views.release()
    gc.collect()


def test_the_limit_of_views_gives_fewer_and_recovers(store: weft.Store) -> None:
    ns = store.namespace("tests/limit", part_bytes=0)
    ns.save("k", BLOCK)
    held = []
    while (view := ns.view("k")) is not None:
        held.append(view)
        assert len(held) <= 4096, "the limit is 4,096 a process and namespace"
    assert len(held) > 1000
    held.clear()
    assert ns.view("k") is not None


def test_lists_of_views_hold_every_block(ns: weft.Namespace) -> None:
    keys = weft.keys(range(64), block_tokens=16)
    rows = np.repeat(np.arange(4, dtype=np.uint8), 512).reshape(4, 512)
    ns.save_list(keys, rows)
    with ns.view_list(keys) as views:
        assert [int(array[0]) for array in views.arrays] == [0, 1, 2, 3]
        third = views[2].array
    assert len(views) == 0
    ns.remove(keys)
    for at in range(100):
        ns.save(f"other {at}", np.full(1 << 20, 255, np.uint8))
    assert np.array_equal(third, rows[2])
    assert [bytes(view) for view in ns.fetch_list(keys)] == []


def test_arrays_outlive_the_store(ns: weft.Namespace, store: weft.Store) -> None:
    ns.save("k", BLOCK)
    array = view_of(ns, "k").array
    store.close()
    assert np.array_equal(array, BLOCK)
    with pytest.raises(weft.ClosedError):
        ns.view("k")
    with pytest.raises(weft.ClosedError):
        ns.load("k")
    del array
    gc.collect()


def test_fetch_verifies_and_holds(ns: weft.Namespace) -> None:
    ns.save("k", BLOCK)
    view = ns.fetch("k", verify=True)
    assert view is not None
    with view:
        assert np.array_equal(view.array, BLOCK)
    verified = ns.load("k", verify=True)
    assert verified is not None
    assert np.array_equal(verified, BLOCK)
