"""Writes the example's models: random weights from a seed, the same on every machine.

python models.py tiny|wide|windows|latent|adapter DIR. tiny is for comparing answers: its weights
are large enough that each key and value matters. wide is for measuring: half a second of work a
thousand tokens. windows has layers with a sliding window (Gemma 3), latent one compressed KV for
all heads (DeepSeek V2's MLA). adapter is a LoRA of tiny."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, DeepseekV2Config, Gemma3TextConfig, LlamaConfig

SMALL = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 4096,
}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "tiny": (LlamaConfig, SMALL),
    "wide": (
        LlamaConfig,
        {
            "hidden_size": 512,
            "intermediate_size": 1536,
            "num_hidden_layers": 8,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "vocab_size": 1024,
            "max_position_embeddings": 16384,
        },
    ),
    "windows": (
        Gemma3TextConfig,
        {**SMALL, "num_hidden_layers": 6, "head_dim": 32, "sliding_window": 128}
        | {"sliding_window_pattern": 3, "query_pre_attn_scalar": 32},
    ),
    "latent": (
        DeepseekV2Config,
        {**SMALL, "num_key_value_heads": 4, "kv_lora_rank": 512, "q_lora_rank": None}
        | {"qk_rope_head_dim": 64, "qk_nope_head_dim": 32, "v_head_dim": 32, "n_group": 1}
        | {"topk_group": 1, "first_k_dense_replace": 4, "moe_intermediate_size": 64},
    ),
}
RANK = 8


def adapter(folder: Path) -> None:
    """A LoRA that changes what tiny's layers make of every token."""
    torch.manual_seed(11)
    wide = {"q_proj": SMALL["hidden_size"], "v_proj": SMALL["hidden_size"] // 2}
    tensors = {}
    for layer in range(SMALL["num_hidden_layers"]):
        for name, size in wide.items():
            place = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{place}.lora_A.weight"] = torch.randn(RANK, SMALL["hidden_size"]) * 0.3
            tensors[f"{place}.lora_B.weight"] = torch.randn(size, RANK) * 0.3
    words = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": RANK}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps({**words, "target_modules": sorted(wide), "bias": "none"})
    )


def main(name: str, folder: str) -> None:
    if name == "adapter":
        adapter(Path(folder))
        return
    torch.manual_seed(7)
    kind, shape = MODELS[name]
    model = AutoModelForCausalLM.from_config(kind(**shape, initializer_range=0.08))
    model.save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:3])
