"""Mistral, which GGUF files as llama.

Its sliding window is not written, as llama.cpp's converter does not either: the llama graph
attends to the whole context. Defaults: transformers, `MistralConfig`.
"""

from __future__ import annotations

from loragraft.export.architectures.family import Family
from loragraft.export.architectures.llama import ATTENTION, llama_items, llama_tensors
from loragraft.export.architectures.rules import MLP, NORMS

MISTRAL = Family(
    name="mistral",
    gguf_arch="llama",
    hf_names=frozenset({"MistralForCausalLM"}),
    defaults={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 4096 * 32,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    },
    layer=(*NORMS, *ATTENTION, *MLP),
    items=llama_items,
    generate=llama_tensors,
)
