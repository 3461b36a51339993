"""Qwen3: norms on the heads of query and key, no biases, a head length of its own.

Defaults: transformers, `Qwen3Config`. Metadata: llama.cpp, `conversion/qwen.py`.
"""

from __future__ import annotations

from loragraft.export.architectures.family import Family
from loragraft.export.architectures.rules import (
    ATTENTION_OUTPUT,
    HEAD_NORMS,
    MLP,
    NORMS,
    QUERY_KEY_VALUE,
)

QWEN3 = Family(
    name="qwen3",
    gguf_arch="qwen3",
    hf_names=frozenset({"Qwen3ForCausalLM"}),
    defaults={
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "attention_bias": False,
    },
    layer=(*NORMS, *HEAD_NORMS, *QUERY_KEY_VALUE, ATTENTION_OUTPUT, *MLP),
    refused_flags=("attention_bias",),
)
