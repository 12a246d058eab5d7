"""Blocks of a ModelNamespace and tensors: each byte is copied once, from the cache's memory into a
layer's tensor, or from there into the cache's memory. To and from another device than the CPU a
block crosses whole, and is taken apart there."""

from __future__ import annotations

import torch

from .. import lowlevel
from ..errors import failure
from ..keys import Keys
from ..memory import Bytes, View
from .namespace import ModelNamespace
from .trail import Pair

BATCH = 64  # blocks viewed or reserved at a time; a process may hold some 4,000 views
BATCH_BYTES = 64 << 20  # reserved at a time, so that a small node need not evict what is used


def batch(space: ModelNamespace) -> int:
    """How many blocks are reserved at a time."""
    fitting: int = BATCH_BYTES // space.part_bytes
    return max(1, min(BATCH, fitting))


def load(
    space: ModelNamespace, chains: list[Keys], windows: list[int], *, verify: bool, timeout_ms: int
) -> list[Pair]:
    """Each layer's keys and values, (rows, heads, tokens, size), of the blocks of `chains`, which
    are of one length: all tokens, or where windows[layer] is not 0 the last windows[layer] - 1.

    Errors: MissError where a block is not there any more."""
    size = space.block_tokens
    end = len(chains[0]) * size
    firsts = [max(0, end - window + 1) if window else 0 for window in windows]
    made = [
        torch.empty(
            (2, len(chains), heads, end - first, head_size), dtype=space.dtype, device=space.device
        )
        for first, (heads, head_size) in zip(firsts, space.shapes, strict=True)
    ]
    for row, chain in enumerate(chains):
        # The deepest first, so that over the whole chain leaves are used before their parents.
        for at in reversed(range(0, len(chain), BATCH)):
            wanted = chain[at : at + BATCH]
            with space.fetch_list(wanted, verify=verify, timeout_ms=timeout_ms) as views:
                if len(views) < len(wanted):
                    words = f"block {at + len(views)} of {len(chain)} went while it was loaded"
                    raise failure(lowlevel.WEFT_EMISS, f"{space.name}: {words}")
                for n, view in enumerate(views, at):
                    places = [pair[:, row] for pair in made]
                    _read(space, view, n * size, firsts, places)
    return [(pair[0], pair[1]) for pair in made]


def _read(
    space: ModelNamespace, view: View, at: int, firsts: list[int], places: list[torch.Tensor]
) -> None:
    """Copies the block of the tokens from `at` on to its place in each layer, (2, heads, tokens,
    size) from firsts[layer] on."""
    size = space.block_tokens
    block = torch.from_dlpack(view).view(space.dtype).to(space.device)
    for part, first, place in zip(_parts(space, block), firsts, places, strict=True):
        skipped = max(0, first - at)
        if skipped < size:
            place[:, :, at + skipped - first : at + size - first].copy_(part[:, :, skipped:])


def write(space: ModelNamespace, memory: Bytes, states: list[Pair]) -> None:
    """Copies each layer's keys and values of one block, (heads, block_tokens, size), into its
    memory."""
    target = torch.from_numpy(memory).view(space.dtype)
    block = target if space.device.type == "cpu" else torch.empty_like(target, device=space.device)
    for part, (keys, values) in zip(_parts(space, block), states, strict=True):
        part[0].copy_(keys)
        part[1].copy_(values)
    if block is not target:
        target.copy_(block)


def _parts(space: ModelNamespace, block: torch.Tensor) -> list[torch.Tensor]:
    """A block's memory as each layer's (2, heads, block_tokens, size): keys, then values."""
    shapes = [(2, heads, space.block_tokens, head_size) for heads, head_size in space.shapes]
    pieces = block.split([2 * heads * tokens * size for _, heads, tokens, size in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
