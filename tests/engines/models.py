"""Tiny models of random weights, the same in every process, and how to compare what they say: as
sensitive to each key and value as a real one, in milliseconds.

Logits are compared with a run without Weft. They are not equal bit by bit where fewer tokens are
computed at once (another matrix shape): then BOUND, 30 times what was seen."""

from __future__ import annotations

from typing import Any

import torch
import weft
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from weft.transformers import ModelNamespace

BLOCK = 16
BOUND = 3e-4  # of logits of -20 to 20, in float32
TOKENS = 256
_SHAPE: dict[str, Any] = dict(
    vocab_size=TOKENS,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    initializer_range=0.2,  # so that attention matters
    bos_token_id=None,
    eos_token_id=None,
    pad_token_id=None,
)
_KINDS: dict[str, tuple[type[PreTrainedModel], Any]] = {
    "llama": (LlamaForCausalLM, LlamaConfig),
    "qwen": (Qwen3ForCausalLM, Qwen3Config),
    # Layers 0, 1 and 3 see 24 tokens: less than two blocks of 16, and no multiple of one.
    "gemma": (Gemma3ForCausalLM, Gemma3TextConfig),
}
KINDS = tuple(_KINDS)
# Of other families, what is peculiar to them: layers that share keys, layers of other shapes,
# chunks instead of windows, sinks.
_WINDOW = {"sliding_window": 24}
FAMILIES: dict[str, dict[str, Any]] = {
    "mistral": _WINDOW,
    "gemma2": _WINDOW,
    "gemma4_text": {
        **_WINDOW,
        "global_head_dim": 32,
        "num_global_key_value_heads": 1,
        "hidden_size_per_layer_input": 0,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "gemma3n_text": {
        **_WINDOW,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 256,
        "laurel_rank": 8,
        "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0] * 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "gpt_oss": {**_WINDOW, "num_local_experts": 4},
    "llama4_text": {
        "num_local_experts": 2,
        "attention_chunk_size": 32,
        "intermediate_size_mlp": 128,
    },
}


def make(kind: str, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
    """A model of KINDS; config: of its config, beside what makes it tiny."""
    model, config_type = _KINDS[kind]
    if kind == "gemma":
        config = {"sliding_window": 24, "sliding_window_pattern": 3, **config}
    torch.manual_seed(1)
    return model(config_type(**{**_SHAPE, **config})).to(dtype).eval()


def make_family(kind: str) -> Any:
    """A model of FAMILIES."""
    config = AutoConfig.for_model(kind, **_SHAPE, **FAMILIES[kind])
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(config).float().eval()


def prompt(length: int, seed: int = 7, rows: int = 1) -> torch.Tensor:
    """(rows, length) random tokens; a seed's longer prompt does not begin with its shorter one."""
    chance = torch.Generator().manual_seed(seed * 1000 + length)
    return torch.randint(0, TOKENS, (rows, length), generator=chance)


def generate(model: Any, ids: torch.Tensor, cache: Any, **more: Any) -> tuple[Any, Any]:
    """Greedy tokens, (rows, prompt + 24), and the logits of each of the 24, (24, rows, TOKENS)."""
    given = {
        "attention_mask": torch.ones_like(ids),
        "max_new_tokens": 24,
        "do_sample": False,
        "pad_token_id": 0,
        **more,
    }
    done = model.generate(
        ids, past_key_values=cache, output_logits=True, return_dict_in_generate=True, **given
    )
    return done.sequences, torch.stack(done.logits)


def open_space(store: weft.Store, model: Any, name: str = "tests/model") -> ModelNamespace:
    return ModelNamespace(store, name, model, block_tokens=BLOCK)


def plain(model: Any, ids: torch.Tensor, **more: Any) -> tuple[Any, Any]:
    return generate(model, ids, DynamicCache(config=model.config), **more)


def assert_same(mine: tuple[Any, Any], reference: tuple[Any, Any], bound: float = BOUND) -> None:
    difference = (mine[1] - reference[1]).abs().max().item()
    assert difference <= bound, f"logits differ by {difference}"
    assert torch.equal(mine[0], reference[0])
