"""WeftCache: a transformers cache whose prompt's prefix comes from Weft, and whose blocks go there.

Invariants:
- `_tokens` are, for each row, the tokens of the positions that the layers hold or, while a forward
  pass runs, will hold: the model's own inputs say so (`tell`), before it computes anything.
- A block's key is of these tokens, and its bytes are what was computed for them at their places
  with nothing hidden and nothing else given; where a call would break that, it is refused.
- A position that was loaded holds the bytes that some process of the same namespace and version
  saved for the same tokens at the same place. All layers hold equally many positions.
- A block is saved whole: all layers of its tokens, taken from the layers themselves or, where a
  layer slides, from the trail of what passed through it.
- Weft's failures are misses: a load that fails loads nothing, a save that fails saves nothing, and
  `error` says why. The model computes on.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from typing import Any, Literal

import torch
from transformers import DynamicCache

from .. import lowlevel
from ..errors import (
    ClosedError,
    CorruptError,
    Error,
    HeldError,
    InvalidError,
    MissError,
    TimedOutError,
    failure,
)
from ..holds import Claim
from ..keys import Keys
from . import blocks
from .inputs import Inputs
from .namespace import ModelNamespace
from .trail import Pair, Trail

_log = logging.getLogger("weft.transformers")


class WeftCache(DynamicCache):
    """The cache of one generation: `model.generate(input_ids, past_key_values=cache)`.

    Loads the longest prefix of the prompt that Weft knows, but leaves at least one token to
    compute, and saves each block when its last token is computed, of the prompt and of the answer.
    A batch is several prompts of one length, without padding: it loads what all of them have.
    `loaded`, `saved`: tokens of each row that came from Weft, and that it has by now. `error`: the
    last failure of Weft; None if there was none.

    input_ids: integers, (rows, tokens) or (tokens,). saves: "all"; "prompt"; "nothing". wait_s: for
    how long at most another process is waited for that computes this prompt; where it is positive,
    others wait for this cache (one row only). verify: check the checksum of what is loaded. reuse:
    "soon", "none" or "maybe". timeout_ms: of each call of Weft, 0: the store's. lora, salt: as in
    weft.keys, an adapter's name, and whatever else keeps prompts apart. Errors: InvalidError where
    the model is given what keys do not tell (padding, embeddings, images), or computes what is not
    as the namespace's layout says. Threads: one at a time."""

    def __init__(
        self,
        namespace: ModelNamespace,
        input_ids: Any,
        *,
        saves: Literal["all", "prompt", "nothing"] = "all",
        wait_s: float = 0,
        verify: bool = False,
        reuse: str | None = None,
        timeout_ms: int = 0,
        lora: str | None = None,
        salt: str | None = None,
    ) -> None:
        super().__init__(config=namespace.config)
        if saves not in ("all", "prompt", "nothing"):
            raise failure(lowlevel.WEFT_EINVAL, f"saves={saves!r}: all, prompt or nothing")
        self._namespace, self._saves, self._lora, self._salt = namespace, saves, lora, salt
        self._verify, self._reuse, self._timeout_ms = verify, reuse, timeout_ms
        self._tokens = _rows(input_ids)
        self._began = self._told = False
        self._prompt = self._tokens.shape[1]
        chains = self._chains()
        self.error: Error | None = None
        self._claim = self._wait(chains, wait_s) if wait_s else None
        self.loaded = 0
        with self._failing("load"):
            self._load(chains)
        self.saved = self.loaded
        self._follow(self.loaded)
        if self.error is not None and not isinstance(self.error, (MissError, CorruptError)):
            self._stop()  # who does not answer now is not waited for again

    def _chains(self) -> list[Keys]:
        """Each row's keys."""
        lora, salt = self._lora, self._salt
        return [self._namespace.keys(row.numpy(), lora=lora, salt=salt) for row in self._tokens]

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """A failure of Weft within is a miss; a mistake of the caller's is raised."""
        try:
            yield
        except (InvalidError, ClosedError):
            raise
        except Error as error:
            self.error = error
            _log.warning("%s of %s: %s", what, self._namespace.name, error)

    # Loading.

    def _wait(self, chains: list[Keys], wait_s: float) -> Claim | None:
        """Until nobody else computes this prompt; the claim of what is left to compute."""
        if len(chains) > 1:
            words = f"wait_s={wait_s} with {len(chains)} rows: only one prompt can be waited for"
            raise failure(lowlevel.WEFT_EINVAL, words)
        with self._failing("claim"), contextlib.suppress(TimedOutError):
            return self._namespace.claim(chains[0], timeout_ms=max(1, int(wait_s * 1000)))
        return None

    def _load(self, chains: list[Keys]) -> None:
        space, timeout_ms = self._namespace, self._timeout_ms
        count = (self._prompt - 1) // space.block_tokens
        with contextlib.ExitStack() as pins:
            for chain in chains:
                if count:
                    found = space.find(chain[:count], pin=True, timeout_ms=timeout_ms)
                    count = pins.enter_context(found).blocks
            if count:
                windows = [layer.sliding_window if layer.is_sliding else 0 for layer in self.layers]
                chains = [chain[:count] for chain in chains]
                states = blocks.load(
                    space, chains, windows, verify=self._verify, timeout_ms=timeout_ms
                )
                self._install(states, count * space.block_tokens)

    def _install(self, states: list[Pair], tokens: int) -> None:
        for layer, (layer_keys, layer_values) in zip(self.layers, states, strict=True):
            layer.lazy_initialization(layer_keys, layer_values)
            layer.keys, layer.values = layer_keys, layer_values
            if layer.is_sliding:
                layer.cumulative_length = tokens
        self.loaded = tokens

    def _unload(self) -> None:
        super().reset()
        self.loaded = 0
        self._follow(0)

    # Computing.

    def tell(self, given: dict[str, Any]) -> None:
        """What the model is about to compute: its forward's arguments by name. The namespace's hook
        calls it."""
        inputs = Inputs(given)
        if self.loaded and not self._began and inputs.begins:
            self._unload()  # assisted generation and prefill_chunk_size compute the whole prompt
        start = self.get_seq_length()
        ids = inputs.continuing(start)
        if not self._began:
            self._begin(ids, start)
        rows = self._tokens.shape[0]
        if ids.shape[0] != rows:
            words = f"input_ids of {ids.shape[0]} rows, but the cache was made for {rows}"
            raise failure(lowlevel.WEFT_EINVAL, words)
        self._tokens = torch.cat([self._tokens[:, :start], ids], 1)
        self._told = True

    def _begin(self, ids: torch.Tensor, start: int) -> None:
        """The first pass is of the prompt that was looked up, or what was loaded is another's.
        Where `generate` is asked for several answers, it has repeated each row."""
        repeats, odd = divmod(ids.shape[0], self._tokens.shape[0])
        if odd or not repeats:
            return  # refused
        known = self._tokens[:, start : start + ids.shape[1]]
        if not torch.equal(ids[:, : known.shape[1]], known.repeat_interleave(repeats, 0)):
            words = "input_ids are of another prompt than the cache was made for"
            raise failure(lowlevel.WEFT_EINVAL, f"{words} (tokens from {start} on)")
        if repeats > 1:
            self.batch_repeat_interleave(repeats)
        self._began = True

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cache.update. With the last layer's states, the blocks that are full now are saved."""
        if not self._told:
            words = "states of tokens that it was not told of: open the ModelNamespace with the"
            raise failure(lowlevel.WEFT_EINVAL, f"WeftCache got {words} model that is called")
        self._check(key_states, value_states, layer_idx)
        layer = self.layers[layer_idx]
        if layer.is_initialized and layer.keys.device != key_states.device:
            layer.keys = layer.keys.to(key_states.device)
            layer.values = layer.values.to(key_states.device)
        states: Pair = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if layer_idx in self._trails:
            self._trails[layer_idx].add(key_states, value_states)
        if layer_idx == len(self.layers) - 1:
            self._told = False
            self._computed()
        return states

    def _check(self, key_states: torch.Tensor, value_states: torch.Tensor, at: int) -> None:
        heads, size = self._namespace.shapes[at]
        wanted = (self._tokens.shape[0], heads, size, self._namespace.dtype)
        for what, states in (("keys", key_states), ("values", value_states)):
            found = (*states.shape[:2], states.shape[3], states.dtype)
            if found != wanted:
                words = f"{what} of (rows, heads, size, dtype) {found}; {self._namespace.name} has"
                raise failure(lowlevel.WEFT_EINVAL, f"layer {at}: {words} {wanted}")

    # Saving.

    def _follow(self, first: int) -> None:
        """Saves what is computed from position `first` on."""
        self._stopped = self._saves == "nothing"
        sliding = [] if self._stopped else self.is_sliding
        self._trails = {at: Trail(first) for at, slides in enumerate(sliding) if slides}

    def _stop(self) -> None:
        """Saves nothing more."""
        self._stopped, self._trails = True, {}

    def _computed(self) -> None:
        reached, size = self.get_seq_length(), self._namespace.block_tokens
        end = (min(reached, self._prompt) if self._saves == "prompt" else reached) // size * size
        if end > self.saved and not self._stopped:
            with self._failing("save"):
                self._save(self.saved // size, end // size)
                self.saved = end
                for trail in self._trails.values():
                    trail.forget(end - size)  # guesses of less than a block may be taken back
            if self.saved < end:
                self._stop()
        if reached >= self._prompt:
            if self._claim is not None:
                self._claim.release()
            if self._saves == "prompt":
                self._stop()

    def _save(self, first: int, end: int) -> None:
        chains = self._chains()
        step = blocks.batch(self._namespace)
        for at in range(first, end, step):
            for row, chain in enumerate(chains):
                self._put(chain[at : min(at + step, end)], at, row)
        for chain in chains:
            self._namespace.touch(chain[:end], reuse=self._reuse, timeout_ms=self._timeout_ms)

    def _put(self, chain: Keys, at: int, row: int) -> None:
        """Saves the row's blocks from the one at `at` on that nobody has saved or is saving."""
        size, made = self._namespace.block_tokens, None
        with contextlib.suppress(HeldError):
            made = self._namespace.reserve_list(chain, timeout_ms=self._timeout_ms)
        if made is None:  # another process is saving one of them: the others one by one
            for n in range(len(chain) if len(chain) > 1 else 0):
                self._put(chain[n : n + 1], at + n, row)
            return
        with made:
            for n, array in enumerate(made.arrays, at):
                if array is not None:
                    span = slice(n * size, (n + 1) * size)
                    states = [self._states(layer, row, span) for layer in range(len(self.layers))]
                    blocks.write(self._namespace, array, states)

    def _states(self, at: int, row: int, span: slice) -> Pair:
        layer = self.layers[at]
        states = (layer.keys, layer.values)
        if layer.is_sliding:
            states, span = self._trails[at].between(span.start, span.stop), slice(None)
        return states[0][row, :, span], states[1][row, :, span]

    # What rearranges the cache.

    def crop(self, tokens_to_remove: int) -> None:
        """Cache.crop."""
        super().crop(tokens_to_remove)
        left, size = self.get_seq_length(), self._namespace.block_tokens
        self._tokens = self._tokens[:, :left]
        self.saved = min(self.saved, left // size * size)
        if any(trail.first > self.saved for trail in self._trails.values()):
            self._stop()  # the begin of the block that is open now is forgotten
        for trail in self._trails.values():
            trail.cut(left)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Cache.batch_repeat_interleave: several answers to each prompt, or beams."""
        super().batch_repeat_interleave(repeats)
        self._tokens = self._tokens.repeat_interleave(repeats, 0)
        for trail in self._trails.values():
            trail.rearrange(lambda states: states.repeat_interleave(repeats, 0))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Cache.batch_select_indices."""
        super().batch_select_indices(indices)
        self._tokens = self._tokens[indices.cpu()]
        for trail in self._trails.values():
            trail.rearrange(lambda states: states[indices.to(states.device)])

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Cache.reorder_cache."""
        super().reorder_cache(beam_idx)
        self._tokens = self._tokens[beam_idx.cpu()]
        for trail in self._trails.values():
            trail.rearrange(lambda states: states[beam_idx.to(states.device)])

    def reset(self) -> None:
        """Cache.reset: an empty cache, that saves what is computed."""
        self._unload()
        self._tokens, self.saved = self._tokens[:, :0], 0

    def __deepcopy__(self, memo: dict[int, Any]) -> WeftCache:
        """A copy of the tensors, over the same namespace; the claim stays here."""
        made = object.__new__(type(self))
        memo[id(self)] = made
        shared = {"_namespace": self._namespace, "_claim": None, "error": self.error}
        for name, value in self.__dict__.items():
            setattr(made, name, shared[name] if name in shared else copy.deepcopy(value, memo))
        return made


def _rows(tokens: Any) -> torch.Tensor:
    """Token ids as (rows, tokens), on the CPU."""
    ids = torch.as_tensor(tokens)
    if ids.is_floating_point() or ids.ndim not in (1, 2) or ids.numel() == 0:
        words = f"input_ids of shape {tuple(ids.shape)} and {ids.dtype}: integers (rows, tokens)"
        raise failure(lowlevel.WEFT_EINVAL, words)
    return ids.detach().cpu().reshape(-1, ids.shape[-1])
