"""What every test of engines needs: quiet processes, one thread of torch, no network."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import weft

os.environ.update(HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="WARNING", OMP_NUM_THREADS="1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
sys.path.insert(0, str(Path(__file__).parents[1] / "command"))

from node import Node  # noqa: E402


@pytest.fixture
def node() -> Iterator[Node]:
    """A node of its own for each test, which may stop or kill it."""
    made = Node()
    yield made
    made.process.send_signal(signal.SIGCONT)
    made.end()


@pytest.fixture
def make(node: Node) -> Iterator[Callable[..., Any]]:
    """Makes engines of the rig that share a namespace; closed before the node ends."""
    from rig import NAME, Engine  # with vLLM, which takes its time

    made: list[Engine] = []

    def one(address: str = "", **more: Any) -> Engine:
        made.append(Engine(address or node.address, **{"namespace": NAME, **more}))
        return made[-1]

    yield one
    node.process.send_signal(signal.SIGCONT)
    for engine in made:
        engine.close()


@pytest.fixture
def store(node: Node) -> Iterator[weft.Store]:
    """A client of it."""
    with weft.Store(connect=node.address, timeout_ms=20_000) as opened:
        yield opened
