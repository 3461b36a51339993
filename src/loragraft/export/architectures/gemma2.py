"""Gemma 2: four norms a layer, each with one added, and soft caps on attention and logits.

Defaults: transformers, `Gemma2Config`. Metadata: llama.cpp, `conversion/gemma.py`.
"""

from __future__ import annotations

from loragraft.errors import UnsupportedError
from loragraft.export.architectures.attention import (
    every_nth_full,
    require_scale,
    require_windows,
)
from loragraft.export.architectures.family import Family
from loragraft.export.architectures.rope import DEFAULT_THETA, Item
from loragraft.export.architectures.rules import (
    ATTENTION_OUTPUT,
    GEMMA_NORMS,
    MLP,
    QUERY_KEY_VALUE,
)
from loragraft.export.architectures.settings import Settings, real, whole

LARGEST = 46  # layers of the model with 27 billion parameters


def check_gemma2(settings: Settings) -> None:
    """Refuse an attention that llama.cpp computes otherwise: every second layer has a window."""
    require_scale(settings, LARGEST)
    types = settings.values.get("layer_types")
    if isinstance(types, list):
        require_windows(types, every_nth_full(settings.layers, 2))


def gemma2_items(settings: Settings, prefix: str, vocab: int) -> list[Item]:
    """All metadata; this family gets no rotary keys, for llama.cpp has its base built in."""
    if settings.rope.kind != "default" or settings.rope.theta != DEFAULT_THETA:
        raise UnsupportedError(
            f"This Gemma 2 model has rotary settings of its own (type {settings.rope.kind!r}, base "
            f"{settings.rope.theta:g}); only the default type with base {DEFAULT_THETA:g} can "
            "be written."
        )
    items: list[Item] = [
        (f"{prefix}.context_length", settings.context, "u32"),
        (f"{prefix}.embedding_length", settings.embedding, "u32"),
        (f"{prefix}.block_count", settings.layers, "u32"),
        (f"{prefix}.feed_forward_length", settings.feed_forward, "u32"),
        (f"{prefix}.attention.head_count", settings.heads, "u32"),
        (f"{prefix}.attention.head_count_kv", settings.heads_kv, "u32"),
        (f"{prefix}.attention.layer_norm_rms_epsilon", settings.rms_epsilon, "f32"),
        (f"{prefix}.attention.key_length", settings.head_length, "u32"),
        (f"{prefix}.attention.value_length", settings.head_length, "u32"),
    ]
    optional = (
        (f"{prefix}.attn_logit_softcapping", "attn_logit_softcapping", "f32"),
        (f"{prefix}.final_logit_softcapping", "final_logit_softcapping", "f32"),
        (f"{prefix}.attention.sliding_window", "sliding_window", "u32"),
    )
    for key, name, kind in optional:
        if settings.values.get(name) is None:
            raise UnsupportedError(
                f"This Gemma 2 model has no {name!r}, which llama.cpp cannot switch off."
            )
        read = whole if kind == "u32" else real
        items.append((key, read(settings.values, name), kind))
    return items


GEMMA2 = Family(
    name="gemma2",
    gguf_arch="gemma2",
    hf_names=frozenset({"Gemma2ForCausalLM"}),
    defaults={
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "sliding_window": 4096,
        "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0,
        "query_pre_attn_scalar": 256,
    },
    layer=(*GEMMA_NORMS, *QUERY_KEY_VALUE, ATTENTION_OUTPUT, *MLP),
    items=gemma2_items,
    check=check_gemma2,
    norm_offset=1.0,
    own_output=False,
    refused_flags=("attention_bias",),
)
