"""Keys of tokens, and arrays that keep their type and shape."""

from __future__ import annotations

import io

import numpy as np
import pytest

import weft


def test_keys_are_a_chain_of_full_blocks() -> None:
    tokens = np.arange(100, dtype=np.int64)
    keys = weft.keys(tokens, block_tokens=16)
    assert len(keys) == 6
    assert np.array_equal(keys, weft.keys(list(range(100)), block_tokens=16))
    assert np.array_equal(keys[:3], weft.keys(tokens[:50], block_tokens=16))
    changed = tokens.copy()
    changed[20] += 1
    other = weft.keys(changed, block_tokens=16)
    assert keys[0] == other[0]
    assert not (keys[1:] == other[1:]).any(), "each key stands for all tokens before it"
    assert not (keys == weft.keys(tokens, block_tokens=16, salt="tenant")).any()
    assert not (keys == weft.keys(tokens, block_tokens=16, scheme="sglang")).any()


def test_a_chain_goes_on_where_it_ended() -> None:
    tokens = np.arange(96)
    whole = weft.keys(tokens, block_tokens=16)
    chain = bytearray(32)
    first = weft.keys(tokens[:48], block_tokens=16, chain=chain)
    second = weft.keys(tokens[48:], block_tokens=16, chain=chain, start=48)
    assert np.array_equal(np.concatenate([first, second]), whole)


def test_wrong_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens: float64"):
        weft.keys(np.ones(32), block_tokens=16)
    with pytest.raises(ValueError, match="from -1"):
        weft.keys([-1] * 16, block_tokens=16)
    for wrong, words in (
        ("a prompt", "'a prompt' is text"),
        (b"bytes", "b'bytes' is text"),
        (["a", "b"], "<U1, .*'a'"),
        ([None], "object, None"),
        ([[1, 2], [3, 4]], r"shape \(2, 2\)"),
        (5, "5 is no sequence"),
    ):
        with pytest.raises(weft.InvalidError, match=f"tokens: .*{words}"):
            weft.keys(wrong, block_tokens=1)  # type: ignore[arg-type]
    for count in (0, -1, 1.5, 1 << 32):
        with pytest.raises(weft.InvalidError, match=f"block_tokens={count}: a whole number"):
            weft.keys(range(32), block_tokens=count)  # type: ignore[arg-type]
    with pytest.raises(weft.InvalidError, match="scheme"):
        weft.keys(range(32), block_tokens=16, scheme="mine")


def test_the_key_of_content_is_its_own() -> None:
    assert weft.key_of(b"text") == weft.key_of("text") == weft.as_keys("text")
    assert weft.key_of(b"text") != weft.key_of(b"Text")
    assert len(weft.as_keys(["a", 7, weft.key_of("b")])) == 3


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "?", "<c16", "S5", "<M8[s]"])
@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (2, 0), (5, 2, 3)])
def test_arrays_keep_type_and_shape(ns: weft.Namespace, dtype: str, shape: tuple[int, ...]) -> None:
    source = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape).astype(dtype)
    assert ns.save_array("a", source) is True
    assert ns.save_array("a", source) is False
    copy = ns.load_array("a")
    place = ns.fetch_array("a")
    for got in (copy, place):
        assert got is not None
        assert (got.dtype, got.shape) == (source.dtype, source.shape)
        assert np.array_equal(got, source)
    assert place is not None
    assert not place.flags.writeable
    part = ns.load("a")
    assert part is not None
    assert np.array_equal(np.load(io.BytesIO(part.tobytes())), source), "the part is a .npy file"


def test_a_fortran_array_and_a_slice_are_saved(ns: weft.Namespace) -> None:
    square = np.arange(12.0).reshape(3, 4)
    ns.save_array("fortran", np.asfortranarray(square))
    ns.save_array("slice", square[:, 1:3])
    assert np.array_equal(ns.fetch_array("fortran"), square)  # type: ignore[arg-type]
    assert np.array_equal(ns.fetch_array("slice"), square[:, 1:3])  # type: ignore[arg-type]


def test_arrays_of_objects_and_foreign_parts_are_refused(ns: weft.Namespace) -> None:
    with pytest.raises(ValueError, match="Python objects"):
        ns.save_array("objects", np.array([{}], dtype=object))
    ns.save("raw", b"no header at all")
    ns.save("cut", b"\x93NUMPY\x01\x00\x10\x00{")
    for key, begin in (("raw", "no heade"), ("cut", "NUMPY")):
        for act in (ns.load_array, ns.fetch_array):
            with pytest.raises(weft.InvalidError, match=f"'{key}': .*{begin}.* no .npy array"):
                act(key)
    assert ns.load_array("absent") is None
    assert ns.fetch_array("absent") is None


def test_the_large_one_is_copied_once_into_place(ns: weft.Namespace) -> None:
    source = np.random.default_rng(2).standard_normal((1024, 1024), np.float32)
    ns.save_array("large", source)
    assert np.array_equal(ns.fetch_array("large"), source)  # type: ignore[arg-type]
