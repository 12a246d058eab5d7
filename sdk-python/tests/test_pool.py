"""A pool: pages of an engine's memory go into blocks and come back, in the one order of parts."""

from __future__ import annotations

import numpy as np
import pytest

import weft
from weft import lowlevel

PAGES, HEADS, TOKENS, BYTES = 6, 2, 4, 8


def test_pages_of_keys_and_values_become_blocks_heads_first() -> None:
    engine = np.random.default_rng(1).integers(
        0, 256, (3, 2, PAGES, TOKENS, HEADS, BYTES), dtype=np.uint8
    )  # layer, keys and values, page, token, head
    before = engine.copy()
    layout = "pages=6,tensors=2,heads=2,tokens=4,bytes=8,head_stride=8,token_stride=16"
    bases = [engine[layer, tensor].ctypes.data for layer in range(3) for tensor in range(2)]
    with (
        weft.Store(memory="16MiB") as store,
        store.namespace("t/m", part_bytes=engine[:, :, 0].nbytes) as space,
        store.queue() as queue,
        store.pool(layout, bases=bases) as pool,
    ):
        keys = _keys(4)
        items = keys.copy()
        items["offset"] = np.array([5, 0, 3, 2]) * TOKENS

        def run(kind: int) -> tuple[int, int]:
            ops = np.zeros(1, weft.OP)
            ops["kind"], ops["flags"] = kind, lowlevel.WEFT_LIST | lowlevel.WEFT_CHAIN
            ops["key_hi"], ops["key_lo"] = len(items), store.all_memory
            ops["offset"] = items.ctypes.data
            ops["space"], ops["region"] = space.space, pool.region
            assert queue.submit(ops) == 1
            events = np.zeros(1, weft.EVENT)
            assert queue.reap(events, 10_000) == 1
            return int(events["value"][0]), int(events["status"][0])

        assert run(lowlevel.WEFT_OP_SAVE) == (4, 0)
        stored = np.zeros((4, 3, HEADS, 2, TOKENS, BYTES), np.uint8)
        assert space.load_list(keys, stored.reshape(4, -1)) == 4
        for page, part in zip((5, 0, 3, 2), stored, strict=True):
            assert (part == before[:, :, page].transpose(0, 3, 1, 2, 4)).all()
        engine[:] = 0
        assert run(lowlevel.WEFT_OP_LOAD) == (4, 0)
        for page in range(PAGES):
            same = before[:, :, page] if page in (5, 0, 3, 2) else 0
            assert (engine[:, :, page] == same).all()


def _keys(count: int) -> weft.Keys:
    keys = np.zeros(count, weft.ITEM)
    keys["key_lo"] = np.arange(1, count + 1)
    return keys


def test_a_pool_that_cannot_be_says_what_is_wrong_and_a_closed_store_ends_it() -> None:
    memory = np.zeros(4096, np.uint8)
    store = weft.Store(memory="16MiB")
    with pytest.raises(weft.InvalidError, match="pages"):
        store.pool(bytes=16, bases=[memory.ctypes.data])
    with pytest.raises(weft.InvalidError, match="colour"):
        store.pool("pages=2,bytes=16,colour=red", bases=[memory.ctypes.data])
    pool = store.pool(pages=2, bytes=16, bases=[memory.ctypes.data])
    store.close()
    pool.close()
    with pytest.raises(weft.ClosedError):
        store.pool(pages=2, bytes=16, bases=[memory.ctypes.data])
