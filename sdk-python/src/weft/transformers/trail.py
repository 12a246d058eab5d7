"""What a sliding layer has computed and Weft has not saved yet: the layer itself keeps only its
last window.

Invariant: the pieces are the keys and values of the positions from `first` to `end`, in order and
without a gap; those before `first` are saved, were loaded, or will never be saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

Pair: TypeAlias = tuple[torch.Tensor, torch.Tensor]


class Trail:
    """Keys and values, each (rows, heads, tokens, size), of the positions from `first` on."""

    def __init__(self, first: int) -> None:
        self.first = self.end = first
        self._pieces: list[Pair] = []

    def add(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Appends what was just computed; it is held, not copied."""
        self._pieces.append((keys, values))
        self.end += keys.shape[-2]

    def between(self, first: int, end: int) -> Pair:
        """The positions from `first` to `end`, which must be here."""
        if not self.first <= first <= end <= self.end:
            raise IndexError(f"positions {first} to {end} of a trail of {self.first} to {self.end}")
        if len(self._pieces) > 1:
            joined = (torch.cat([piece[at] for piece in self._pieces], dim=-2) for at in (0, 1))
            self._pieces = [tuple(joined)]
        keys, values = self._pieces[0]
        span = slice(first - self.first, end - self.first)
        return keys[..., span, :], values[..., span, :]

    def forget(self, first: int) -> None:
        """Lets go of the positions before `first`, memory included."""
        if first > self.first:
            keys, values = self.between(first, self.end)
            self._pieces = [(keys.clone(), values.clone())]
            self.first = first

    def cut(self, end: int) -> None:
        """Lets go of the positions from `end` on, which were taken back."""
        if end < self.end:
            keys, values = self.between(self.first, max(end, self.first))
            self._pieces = [(keys, values)]
            self.end = max(end, self.first)

    def rearrange(self, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Does to the rows of all pieces what was done to the layer's."""
        self._pieces = [(how(keys), how(values)) for keys, values in self._pieces]
