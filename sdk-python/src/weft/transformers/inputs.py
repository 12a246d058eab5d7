"""What a model is about to compute, as far as a key tells it: tokens at the places that follow
those in the cache, with nothing hidden. Everything else is refused, in words that name it."""

from __future__ import annotations

from typing import Any

import torch

from .. import lowlevel
from ..errors import Error, failure

# Tensors among a decoder's arguments that change no key and no value, or are looked at here.
_KNOWN = ("attention_mask", "cache_position", "input_ids", "labels", "logits_to_keep")
_PLACES = ("cache_position", "position_ids")


class Inputs:
    """A forward's arguments by name. Errors: InvalidError."""

    def __init__(self, given: dict[str, Any]) -> None:
        ids = given.get("input_ids")
        if not isinstance(ids, torch.Tensor) or ids.ndim != 2:
            raise _refused("a model that is given no input_ids of (rows, tokens)")
        for name, value in given.items():
            says = isinstance(value, torch.Tensor) or (isinstance(value, (list, tuple)) and value)
            if says and name not in (*_KNOWN, *_PLACES):
                raise _refused(f"{name}: keys are of tokens alone")
        self._ids = ids.detach().cpu()
        self._mask = given.get("attention_mask")
        if self._mask is not None and not (_is(self._mask) and self._mask.ndim == 2):
            raise _refused("an attention_mask that is not of (rows, tokens)")
        self._places = {name: given[name] for name in _PLACES if _is(given.get(name))}

    @property
    def begins(self) -> bool:
        """Whether these are the first tokens of a sequence, whatever is in the cache."""
        if self._mask is not None:
            return bool(self._mask.shape[1] == self._ids.shape[1])
        return any(int(places.flatten()[0]) == 0 for places in self._places.values())

    def continuing(self, start: int) -> torch.Tensor:
        """The tokens, (rows, tokens), which are at the places from `start` on."""
        count = self._ids.shape[1]
        if self._mask is not None:
            if self._mask.shape[1] != start + count:
                shape = tuple(self._mask.shape)
                raise _refused(f"an attention_mask of {shape} for {start} + {count} tokens")
            hidden = int((self._mask == 0).sum())
            if hidden:
                raise _refused(f"an attention_mask that hides {hidden} tokens (padding)")
        for name, places in self._places.items():
            if not bool((places.cpu() == torch.arange(start, start + count)).all()):
                raise _refused(f"{name} other than {start} to {start + count - 1}")
        return self._ids


def _is(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _refused(what: str) -> Error:
    return failure(lowlevel.WEFT_EINVAL, f"WeftCache does not take {what}")
