"""Qwen2 and Qwen2.5: biases on query, key and value, nothing permuted.

Defaults: transformers, `Qwen2Config`. Metadata: llama.cpp, `conversion/qwen.py`.
"""

from __future__ import annotations

from loragraft.export.architectures.family import Family
from loragraft.export.architectures.rules import (
    ATTENTION_OUTPUT,
    MLP,
    NORMS,
    QUERY_KEY_VALUE,
    biases,
)

QWEN2 = Family(
    name="qwen2",
    gguf_arch="qwen2",
    hf_names=frozenset({"Qwen2ForCausalLM"}),
    defaults={
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    },
    layer=(*NORMS, *QUERY_KEY_VALUE, *biases(QUERY_KEY_VALUE), ATTENTION_OUTPUT, *MLP),
    square_heads=True,
)
