"""What the bytes of a model's blocks mean, and the namespace that keeps them.

A block holds `block_tokens` tokens of one sequence: of each layer that has a cache, in order, its
keys and then its values, each of shape (heads, block_tokens, head size), after the rotary
embedding. Sliding layers are stored whole: whoever loads takes as much as its window needs.

The namespace's layout names model type, layers, heads, head size and order, and a digest of the
model's config without what never changes a key or a value, so that a model of another shape, window
or rotary embedding is told both layouts and reads nothing.

Blocks of other weights are never found: every key is salted with samples of all parameters, taken
when the namespace is opened. Whoever changes weights in place opens it anew, and lets old blocks go
by a new version (`advance`).
"""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from .. import lowlevel
from ..errors import Error, failure
from ..keys import Keys, keys
from ..namespace import Namespace
from ..options import Option, render
from ..store import Store

# How this package lays blocks out: another order is another number.
_FORMAT = 1
_DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
# Of a config, what changes neither a key nor a value.
# fmt: off
_IDLE = frozenset((
    "_name_or_path", "architectures", "attn_implementation", "auto_map", "bos_token_id", "dtype",
    "eos_token_id", "id2label", "initializer_range", "label2id", "output_attentions",
    "output_hidden_states", "pad_token_id", "problem_type", "return_dict", "tie_word_embeddings",
    "torch_dtype", "transformers_version", "use_cache",
))
# fmt: on
_SAMPLES = 64  # of a parameter's numbers
# Rotary embeddings that turn a key by how long the whole sequence is.
_BY_LENGTH = ("dynamic", "longrope")


class ModelNamespace(Namespace):
    """`tenant/model` for the blocks of one transformers model: Namespace's calls, and the layout
    that WeftCache needs.

    model: a decoder whose layers all have full or sliding attention. block_tokens: tokens a block,
    at least 1. options: of Store.namespace but parts, part_bytes, layers, dtype and layout, which
    come from the model; version= of the weights among them. Errors: InvalidError where what is
    stored differs (both layouts are named), NotSupportedError for a model whose prefixes cannot be
    reused."""

    def __init__(
        self, store: Store, name: str, model: Any, *, block_tokens: int = 32, **options: Option
    ) -> None:
        if block_tokens < 1:
            raise failure(lowlevel.WEFT_EINVAL, f"block_tokens={block_tokens}: at least 1")
        self.config = model.config.get_text_config(decoder=True)
        self.device, self.dtype = model.device, model.dtype
        refused = _refusal(model.config, self.config, self.dtype)
        if refused:
            raise _unsupported(f"{self.config.model_type}: {refused}")
        self.shapes = layer_shapes(self.config)
        self._weights = weights_digest(model)
        token_bytes = sum(2 * heads * size for heads, size in self.shapes) * self.dtype.itemsize
        uniform = len(set(self.shapes)) == 1
        layout = {
            "parts": 1,
            "part_bytes": token_bytes * block_tokens,
            "block_tokens": block_tokens,
            "layers": len(self.shapes) if uniform else None,
            "dtype": _DTYPES[self.dtype],
            "layout": f"transformers/{_FORMAT} {self.config.model_type}"
            f" layers={len(self.shapes)} heads={_one_or_all(heads for heads, _ in self.shapes)}"
            f" size={_one_or_all(size for _, size in self.shapes)} config={digest(self.config)}",
        }
        super().__init__(store, name, render(None, {**layout, **options}))
        self._hook = model.register_forward_pre_hook(_tell, with_kwargs=True)

    def keys(self, tokens: Any, *, lora: str | None = None, salt: str | None = None) -> Keys:
        """The keys of a prompt's full blocks, of these weights: for find, remove and the like.

        tokens: integers, (tokens,). lora, salt: as WeftCache was given them."""
        salted = self._weights if salt is None else f"{self._weights} {salt}"
        return keys(tokens, block_tokens=self.block_tokens, lora=lora, salt=salted)

    def close(self) -> None:
        """Namespace.close; the model is left as it was."""
        super().close()
        self._hook.remove()


def _tell(model: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Tells the cache that a forward pass is given what else it is given."""
    cache = named.get("past_key_values")
    if arguments:
        named = inspect.signature(model.forward).bind_partial(*arguments, **named).arguments
        cache = named.get("past_key_values")
    tell = getattr(cache, "tell", None)
    if tell is not None:
        tell(named)


def layer_shapes(config: Any) -> list[tuple[int, int]]:
    """Heads and head size of each layer that has a cache, as the config says."""
    layers = len(DynamicCache(config=config).layers)
    shapes = []
    for layer in config.per_layer_config[:layers]:
        heads = getattr(layer, "num_key_value_heads", None) or layer.num_attention_heads
        size = getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads
        shapes.append((int(heads), int(size)))
    return shapes


def digest(config: Any) -> str:
    """16 hexadecimal digits of what in a config says how keys and values come about."""
    said = {key: value for key, value in config.to_diff_dict().items() if key not in _IDLE}
    text = json.dumps(said, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def weights_digest(model: Any) -> str:
    """16 hexadecimal digits of samples of every parameter: training changes nearly all of each."""
    seen = hashlib.sha256()
    for name, weights in model.named_parameters():
        seen.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        flat = weights.detach().reshape(-1)
        if not flat.is_meta:
            step = max(1, flat.numel() // _SAMPLES)
            seen.update(flat[::step].contiguous().view(torch.uint8).cpu().numpy().tobytes())
    return seen.hexdigest()[:16]


def _refusal(whole: Any, config: Any, dtype: torch.dtype) -> str:
    """Why prefixes of such a model cannot be reused, or nothing."""
    if whole.is_encoder_decoder:
        return "an encoder-decoder: its keys depend on more than the tokens before"
    if getattr(config, "use_bidirectional_attention", False):
        return "use_bidirectional_attention: a prefix's keys depend on what follows"
    for rope in _rope_types(getattr(config, "rope_parameters", None) or {}):
        if rope in _BY_LENGTH:
            return f"rope_type={rope}: a prefix's keys depend on how long the sequence is"
    for at, layer in enumerate(DynamicCache(config=config).layers):
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            return f"layer {at} is a {type(layer).__name__}, not full or sliding attention"
    if dtype not in _DTYPES:
        return f"keys of {dtype}; {', '.join(_DTYPES.values())} are stored"
    return ""


def _rope_types(parameters: dict[str, Any]) -> set[str]:
    found = {str(parameters.get("rope_type", "default"))}
    for value in parameters.values():
        if isinstance(value, dict):
            found |= _rope_types(value)
    return found


def _one_or_all(values: Any) -> str:
    listed = [str(value) for value in values]
    return listed[0] if len(set(listed)) == 1 else "/".join(listed)


def _unsupported(words: str) -> Error:
    return failure(lowlevel.WEFT_ENOTSUP, words)
