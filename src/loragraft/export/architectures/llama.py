"""Llama 1 to 3.x and everything published under its architecture (SmolLM2, for one).

Query and key rows are permuted; Llama 3's rotary scaling becomes a tensor. Defaults:
transformers, `LlamaConfig`. Metadata: llama.cpp, `conversion/llama.py`.
"""

from __future__ import annotations

from dataclasses import replace

from loragraft.export.architectures.family import Arrays, Family, common_items
from loragraft.export.architectures.rope import Item, llama3_factors
from loragraft.export.architectures.rules import (
    ATTENTION_OUTPUT,
    MLP,
    NORMS,
    QUERY_KEY_VALUE,
    biases,
)
from loragraft.export.architectures.settings import Settings

_QUERY, _KEY, _VALUE = QUERY_KEY_VALUE
ATTENTION = (
    replace(_QUERY, heads="heads"),
    replace(_KEY, heads="heads_kv"),
    _VALUE,
    ATTENTION_OUTPUT,
)


def llama_items(settings: Settings, prefix: str, vocab: int) -> list[Item]:
    """The common metadata, and the two keys that only this architecture gets."""
    # transformers' configuration class always fills in the length of a head.
    filled = replace(settings, head_length_given=True)
    return [
        *common_items(filled, prefix),
        (f"{prefix}.vocab_size", vocab, "u32"),
        (f"{prefix}.rope.dimension_count", settings.head_length, "u32"),
    ]


def llama_tensors(settings: Settings) -> Arrays:
    """The divisors of Llama 3's rotary scaling, where the model has it."""
    if settings.rope.kind != "llama3":
        return {}
    return {"rope_freqs.weight": llama3_factors(settings.rope, settings.head_length)}


LLAMA = Family(
    name="llama",
    gguf_arch="llama",
    hf_names=frozenset({"LlamaForCausalLM", "LLaMAForCausalLM"}),
    defaults={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
    },
    layer=(
        *NORMS,
        *ATTENTION,
        *biases(ATTENTION, when="attention_bias"),
        *MLP,
        *biases(MLP, when="mlp_bias"),
    ),
    items=llama_items,
    generate=llama_tensors,
)
