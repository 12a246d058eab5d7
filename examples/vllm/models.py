"""Writes the example's models: Llamas of random weights from a seed, the same on every machine.

python models.py tiny|wide DIR. tiny is for comparing answers: its weights are large enough that
each key and value matters. wide is for measuring: half a second of work a thousand tokens."""

from __future__ import annotations

import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "max_position_embeddings": 4096,
    },
    "wide": {
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 1024,
        "max_position_embeddings": 16384,
    },
}


def main(name: str, folder: str) -> None:
    torch.manual_seed(7)
    config = LlamaConfig(**SHAPES[name], initializer_range=0.08)
    LlamaForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:3])
