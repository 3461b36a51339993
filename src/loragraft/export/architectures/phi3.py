"""Phi-3 and Phi-4: fused projections, kept fused, and rotary factors for two context lengths.

Defaults: transformers, `Phi3Config`. Metadata: llama.cpp, `conversion/phi.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from loragraft.errors import CheckpointError, UnsupportedError
from loragraft.export.architectures.family import Arrays, Family
from loragraft.export.architectures.rope import (
    DEFAULT_THETA,
    ORIGINAL,
    Item,
    Rope,
    number,
    positive,
    section_of,
    trained_length,
)
from loragraft.export.architectures.rules import ATTENTION_OUTPUT, NORMS, linear
from loragraft.export.architectures.settings import Settings, whole

OLD_NAMES = ("su", "yarn")  # what the first Phi-3 files called longrope


def read_phi3_rope(config: Mapping[str, Any]) -> Rope:
    """Rotary settings; the length of pretraining stands outside of them."""
    full = section_of(config, "rope_scaling") or section_of(config, "rope_parameters")
    full.setdefault("rope_theta", config.get("rope_theta", DEFAULT_THETA))
    full.setdefault("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    full.setdefault("rope_type", full.get("type", "default"))
    if full["rope_type"] in OLD_NAMES:
        full["rope_type"] = "longrope"
    if full["rope_type"] == "longrope":
        full[ORIGINAL] = config[ORIGINAL]
    full.setdefault(ORIGINAL, config[ORIGINAL])
    if full["rope_type"] not in ("default", "longrope"):
        raise UnsupportedError(
            f"The rotary scaling type {full['rope_type']!r} is not defined for Phi-3; expected "
            "'default' or 'longrope'."
        )
    return Rope(full)


def _rotated(settings: Settings) -> int:
    """Elements of a head that are rotated.

    Raises:
        CheckpointError: If the share is none.
    """
    share = positive(settings.rope.full, "partial_rotary_factor")
    if share > 1:
        raise CheckpointError(
            f"config.json: 'partial_rotary_factor' is {share:g}, expected a share of at most 1."
        )
    return int(share * settings.embedding) // settings.heads


def _attention_factor(settings: Settings) -> float:
    """How much attention is sharpened for the longer context (LongRoPE, arXiv 2402.13753)."""
    original = trained_length(settings.rope.full)
    scale = settings.context / original
    return math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1.0 else 1.0


def phi3_items(settings: Settings, prefix: str, vocab: int) -> list[Item]:
    """All metadata; a window of 0 says that there is none."""
    window, trained = settings.values.get("sliding_window"), trained_length(settings.rope.full)
    items: list[Item] = [
        (f"{prefix}.context_length", settings.context, "u32"),
        (f"{prefix}.rope.scaling.original_context_length", trained, "u32"),
        (f"{prefix}.embedding_length", settings.embedding, "u32"),
        (f"{prefix}.feed_forward_length", settings.feed_forward, "u32"),
        (f"{prefix}.block_count", settings.layers, "u32"),
        (f"{prefix}.attention.head_count", settings.heads, "u32"),
        (f"{prefix}.attention.head_count_kv", settings.heads_kv, "u32"),
        (f"{prefix}.attention.layer_norm_rms_epsilon", settings.rms_epsilon, "f32"),
        (f"{prefix}.rope.dimension_count", _rotated(settings), "u32"),
        (f"{prefix}.rope.freq_base", settings.rope.theta, "f32"),
        (f"{prefix}.attention.sliding_window",
         whole(settings.values, "sliding_window") if window else 0, "u32"),
    ]  # fmt: skip
    if settings.rope.full.get("long_factor"):
        items.append((f"{prefix}.rope.scaling.attn_factor", _attention_factor(settings), "f32"))
    return items


def phi3_tensors(settings: Settings) -> Arrays:
    """The factors of long and short contexts, where the model has them."""
    if not settings.rope.full.get("long_factor"):
        return {}
    expected = _rotated(settings) // 2
    arrays = {}
    for length in ("long", "short"):
        factors = settings.rope.full.get(f"{length}_factor")
        if not isinstance(factors, list) or len(factors) != expected:
            found = len(factors) if isinstance(factors, list) else factors
            raise CheckpointError(
                f"config.json: '{length}_factor' has {found} entries, expected {expected}, half "
                "of the rotated elements of a head. Download the file again."
            )
        values = [number({f"{length}_factor": factor}, f"{length}_factor") for factor in factors]
        arrays[f"rope_factors_{length}.weight"] = np.array(values, dtype=np.float32)
    return arrays


PHI3 = Family(
    name="phi3",
    gguf_arch="phi3",
    hf_names=frozenset({"Phi3ForCausalLM"}),
    defaults={
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        ORIGINAL: 4096,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    },
    layer=(
        *NORMS,
        linear("attn_qkv", "self_attn.qkv_proj", "query_key_value", "embedding"),
        ATTENTION_OUTPUT,
        linear("ffn_up", "mlp.gate_up_proj", "gate_up", "embedding"),
        linear("ffn_down", "mlp.down_proj", "embedding", "feed_forward"),
    ),
    items=phi3_items,
    generate=phi3_tensors,
    read_rope=read_phi3_rope,
    square_heads=True,
)
