"""The worker's pool on its own: every layout of KV tensors that vLLM has goes out and comes back,
and a load that layers wait for ends layer by layer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import weft
from node import Node
from weft.vllm.groups import Group, Shape, UnsupportedError
from weft.vllm.link import Opened, Target
from weft.vllm.meta import Blocks, Transfer
from weft.vllm.pool import Pool, Work, pages_of

BLOCKS = 20
LIMIT_S = 60
LAYOUTS: dict[str, Callable[[], torch.Tensor]] = {
    "blocks first, as on CPUs": lambda: torch.rand(BLOCKS, 2, 16, 8),
    "keys and values apart": lambda: torch.rand(2, BLOCKS, 16, 2, 4),
    "one latent head, as of MLA": lambda: torch.rand(BLOCKS, 1, 16, 16),
    "the kernel's blocks smaller": lambda: torch.rand(4 * BLOCKS, 2, 4, 8),
    "a row of all layers for each block": lambda: torch.rand(BLOCKS, 3, 2, 16, 8)[:, 1],
    "half floats": lambda: torch.rand(BLOCKS, 2, 16, 16).to(torch.bfloat16),
}
every_layout = pytest.mark.parametrize("made", LAYOUTS.values(), ids=LAYOUTS.keys())
PAGE = 2 * 16 * 8 * 4


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    made = Node()
    yield made
    made.end()


@pytest.fixture
def opened(node: Node, request: pytest.FixtureRequest) -> Iterator[Opened]:
    name = f"tests/pages-{random.getrandbits(32)}"
    with weft.Store(connect=node.address) as store:
        space = store.namespace(name, part_bytes=2 * PAGE)
        yield Opened(store, (space,), Target("", 0))


def pool(tensors: list[torch.Tensor]) -> Pool:
    names = tuple(f"l{at}" for at in range(len(tensors)))
    group = Group(0, "", names, (PAGE,) * len(tensors), 0)
    shape = Shape((group,), 16, 1, 1, "float32", "test")
    return Pool(shape, dict(zip(names, tensors, strict=True)), BLOCKS, 0)


def blocks(ids: list[int]) -> Transfer:
    items = weft.as_keys([1000 + at for at in range(len(ids))]).copy()
    items["offset"] = ids
    return Transfer("r", [Blocks(0, items)])


def end(one: Pool, work: Work) -> None:
    until = time.monotonic() + LIMIT_S
    while work.left and time.monotonic() < until:
        one.reap(100)
    assert work.whole, (work.done, work.error)


def rows(tensor: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """The blocks of these ids, whatever the layout."""
    if tensor.shape[0] == 2:
        return tensor[:, ids]
    return tensor.unflatten(0, (BLOCKS, -1))[ids]


@every_layout
def test_blocks_go_out_and_come_back_to_other_places(
    opened: Opened, made: Callable[[], torch.Tensor]
) -> None:
    mine, theirs = [made(), made()], [made(), made()]
    before = [tensor.clone() for tensor in theirs]
    out, back = [3, 17, 1, 19, 8], [2, 4, 6, 18, 0]
    for one, ids, saving in ((pool(mine), out, True), (pool(theirs), back, False)):
        end(one, one.begin(opened, blocks(ids), saving))
        one.close()
    others = sorted(set(range(BLOCKS)) - set(back))
    for here, there, was in zip(mine, theirs, before, strict=True):
        assert torch.equal(rows(here, out), rows(there, back))
        assert torch.equal(rows(there, others), rows(was, others))


def test_a_load_by_layers_ends_layer_by_layer(opened: Opened) -> None:
    made = LAYOUTS["blocks first, as on CPUs"]
    mine, theirs = [made(), made()], [made(), made()]
    one, other = pool(mine), pool(theirs)
    end(one, one.begin(opened, blocks([1, 2, 3]), True))
    other._events = np.zeros(1, weft.EVENT)  # one end at a time
    apart = 0
    for _ in range(10):
        work = other.begin(opened, blocks([4, 5, 6]), False, by_layer=True)
        until = time.monotonic() + LIMIT_S
        while other.layer_pending("l0", [work]) and time.monotonic() < until:
            other.reap(100)
        assert torch.equal(theirs[0][[4, 5, 6]], mine[0][[1, 2, 3]])
        apart += other.layer_pending("l1", [work])
        end(other, work)
        assert torch.equal(theirs[1][[4, 5, 6]], mine[1][[1, 2, 3]])
    assert apart
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("tensor", "page", "words"),
    [
        (torch.rand(BLOCKS, 2, 16, 16)[..., :8], PAGE, "strides"),
        (torch.rand(BLOCKS + 1, 2, 16, 8), PAGE, "shape"),
        (torch.rand(BLOCKS, 2, 16, 8), 2 * PAGE, f"not vLLM's {2 * PAGE}"),
        (torch.rand(BLOCKS, 2, 16, 8, device="meta"), PAGE, "on meta"),
    ],
    ids=["gaps in a block", "another number of blocks", "another size", "another device"],
)
def test_a_layout_that_does_not_fit_is_named(tensor: torch.Tensor, page: int, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        pages_of("l0", tensor, BLOCKS, page)


def test_what_closes_while_it_works_touches_nothing_later(opened: Opened) -> None:
    made: Any = LAYOUTS["blocks first, as on CPUs"]
    one = pool([made(), made()])
    one.begin(opened, blocks(list(range(1, 19))), True)
    one.close()
    assert not one._ops
    one.close()
