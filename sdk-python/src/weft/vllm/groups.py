"""KV cache groups: which layers share a block table, and where each lies in a block of Weft.

Each group has a namespace of its own: the first full-attention group the bare name, so that one
advance of it fences the model, others `name.gINDEX`. A part of a block is the group's layers in
order, each layer's page as it lies in vLLM's memory: pages are copied whole and never read, for
what is inside them is the attention backend's own. A model that does not fit is an
UnsupportedError, and the connector steps aside."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from .identity import config_digest, digest

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.kv_cache_interface import KVCacheConfig

    from ..options import Option


class UnsupportedError(Exception):
    """What of this model or this engine the connector cannot serve, in words."""


@dataclasses.dataclass(frozen=True)
class Group:
    """index: vLLM's. window: blocks before a hit's end that the group needs, 0: all of them.
    pages: bytes of each layer's page, in order."""

    index: int
    suffix: str
    layers: tuple[str, ...]
    pages: tuple[int, ...]
    window: int

    @property
    def part_bytes(self) -> int:
        """Of one rank's share of a block."""
        return sum(self.pages)


@dataclasses.dataclass(frozen=True)
class Shape:
    """The model as Weft sees it. block_tokens: of every group. parts: ranks with KV of their
    own; ranks that hold the same are replicas, of which the first saves."""

    groups: tuple[Group, ...]
    block_tokens: int
    parts: int
    replicas: int
    dtype: str
    layout: str

    @property
    def fingerprint(self) -> str:
        """Of all that two engines must agree on to share blocks, but for the weights."""
        groups = [(group.suffix, group.layers, group.pages) for group in self.groups]
        return digest([self.layout, self.dtype, self.block_tokens, self.parts, groups])

    def options(self, group: Group, writer: str) -> dict[str, Option]:
        """Of weft_namespace_open, but for the version."""
        same = len(set(group.pages)) == 1
        return {
            "parts": self.parts,
            "part_bytes": group.part_bytes,
            "block_tokens": self.block_tokens,
            "layers": len(group.layers) if same else None,
            "dtype": self.dtype,
            # What differs is named in an error of 248 bytes: what may differ most stands first.
            "layout": f"vllm;layers={digest([group.layers, group.pages])};{self.layout}",
            "writer": writer,
        }


def _window(spec: Any, block_tokens: int) -> int:
    """How many blocks before a hit's end the group needs, 0: all. Errors: UnsupportedError."""
    from vllm.v1 import kv_cache_interface as kv

    if isinstance(spec, kv.UniformTypeKVCacheSpecs):
        windows = {_window(one, block_tokens) for one in spec.kv_cache_specs.values()}
        if len(windows) != 1:
            raise UnsupportedError(f"layers of one group with windows of {sorted(windows)} blocks")
        return windows.pop()
    if type(spec) in (kv.FullAttentionSpec, kv.MLAAttentionSpec):
        return 0
    if type(spec) in (kv.SlidingWindowSpec, kv.SlidingWindowMLASpec):
        tokens = int(spec.sliding_window) - 1 + int(spec.extra_retained_tokens)
        return max(1, -(-tokens // block_tokens))
    raise UnsupportedError(f"KV cache groups of {type(spec).__name__}")


def _pages(layers: list[str], spec: Any) -> tuple[int, ...]:
    of_layer = getattr(spec, "kv_cache_specs", None) or dict.fromkeys(layers, spec)
    return tuple(int(of_layer[name].page_size_bytes) for name in layers)


def _isa(config: VllmConfig, kv_cache: KVCacheConfig) -> str:
    """Of the CPU backend, which packs keys by instruction set; "device" elsewhere."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return str(current_platform.device_type)
    from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

    spec: Any = kv_cache.kv_cache_groups[0].kv_cache_spec
    spec = next(iter(getattr(spec, "kv_cache_specs", {"": spec}).values()))
    kind = config.cache_config.cache_dtype
    return "cpu-" + str(_get_attn_isa(spec.dtype, spec.block_size, spec.head_size, kind))


def _check(config: VllmConfig) -> None:
    """Errors: UnsupportedError, naming what of the engine does not fit."""
    parallel, cache = config.parallel_config, config.cache_config
    ranks = {
        "pipeline": parallel.pipeline_parallel_size,
        "decode context": parallel.decode_context_parallel_size,
        "prefill context": parallel.prefill_context_parallel_size,
    }
    for name, size in ranks.items():
        if size > 1:
            raise UnsupportedError(f"{name} parallel size {size}")
    whole = not (cache.enable_prefix_caching or config.scheduler_config.enable_chunked_prefill)
    if whole or not config.model_config.is_prefix_caching_supported:
        # As with MLA on most CPUs, and with poolers that need every token's output.
        raise UnsupportedError(
            "vLLM computes each prompt of this model whole (neither prefix caching nor chunked "
            "prefill), so nothing can be loaded before it"
        )
    algorithm = str(cache.prefix_caching_hash_algo)
    if not algorithm.startswith("sha256"):
        raise UnsupportedError(
            f"--prefix-caching-hash-algo {algorithm}: blocks are shared by hashes, which only "
            "sha256 and sha256_cbor make without collisions"
        )


def shape_of(config: VllmConfig, kv_cache: KVCacheConfig) -> Shape:
    """The groups and the layout of a model. Errors: UnsupportedError, naming what does not fit."""
    _check(config)
    parallel, cache = config.parallel_config, config.cache_config
    found = [
        (index, group)
        for index, group in enumerate(kv_cache.kv_cache_groups)
        if group.enable_kv_transfer
    ]
    if not found:
        raise UnsupportedError("a model without KV cache groups")
    hash_tokens = kv_cache.hash_block_size or cache.block_size
    sizes = {group.kv_cache_spec.block_size for _, group in found}
    if sizes != {hash_tokens}:
        raise UnsupportedError(f"blocks of {sorted(sizes)} tokens with hashes of {hash_tokens}")
    windows = {index: _window(group.kv_cache_spec, hash_tokens) for index, group in found}
    first = next((index for index, window in windows.items() if not window), found[0][0])
    groups = tuple(
        Group(
            index,
            "" if index == first else f".g{index}",
            tuple(group.layer_names),
            _pages(group.layer_names, group.kv_cache_spec),
            windows[index],
        )
        for index, group in found
    )
    replicas = max(1, kv_cache.kv_tp_replicas)
    words = {
        "model": config_digest(config),
        "kv": cache.cache_dtype,
        "isa": _isa(config, kv_cache),
        "order": kv_cache.kv_cache_layout or "default",
        "hash": cache.prefix_caching_hash_algo,
    }
    return Shape(
        groups,
        hash_tokens,
        parallel.tensor_parallel_size // replicas,
        replicas,
        str(config.model_config.dtype).removeprefix("torch."),
        ";".join(f"{key}={value}" for key, value in words.items()),
    )
