"""What every test of engines needs: quiet processes, one thread of torch, no network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import weft

os.environ.update(HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="WARNING", OMP_NUM_THREADS="1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
sys.path.insert(0, str(Path(__file__).parents[1] / "command"))

from node import Node  # noqa: E402


@pytest.fixture
def node() -> Iterator[Node]:
    """A node of its own for each test."""
    made = Node()
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
def store(node: Node) -> Iterator[weft.Store]:
    """A client of it."""
    with weft.Store(connect=node.address, timeout_ms=20_000) as opened:
        yield opened
