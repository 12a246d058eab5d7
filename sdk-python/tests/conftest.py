"""Fixtures: a private store of 64 MiB and a namespace of blocks of any size; a node that
listens."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest

import weft


@pytest.fixture
def store() -> Iterator[weft.Store]:
    with weft.Store(memory="64MiB", timeout_ms=20_000) as opened:
        yield opened


@pytest.fixture
def ns(store: weft.Store) -> weft.Namespace:
    return store.namespace("tests/any", part_bytes=0)


@pytest.fixture
def address() -> Iterator[str]:
    """A socket's address for a node; short, as socket paths must be."""
    with tempfile.TemporaryDirectory(prefix="weft-") as folder:
        yield f"unix:{folder}/s"


@pytest.fixture
def node(address: str) -> Iterator[weft.Store]:
    with weft.Store(memory="64MiB", listen=address, timeout_ms=20_000) as opened:
        yield opened
