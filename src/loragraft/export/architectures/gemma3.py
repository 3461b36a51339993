"""Gemma 3, text: also the language model of the vision-language checkpoints.

Norms on heads, two rotary bases. Defaults: transformers, `Gemma3TextConfig`. Metadata:
llama.cpp, `conversion/gemma.py`. The embedding may hold rows beyond the tokenizer's vocabulary;
give the tokenizer's size as `vocab_size` to leave them out, as that script does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loragraft.errors import UnsupportedError
from loragraft.export.architectures.attention import (
    every_nth_full,
    require_scale,
    require_windows,
)
from loragraft.export.architectures.family import Family, common_items
from loragraft.export.architectures.rope import LAYER_TYPES, Item, Rope, section_of
from loragraft.export.architectures.rules import (
    ATTENTION_OUTPUT,
    BUFFERS,
    GEMMA_NORMS,
    HEAD_NORMS,
    MLP,
    QUERY_KEY_VALUE,
)
from loragraft.export.architectures.settings import Settings, real, whole

GLOBAL_THETA = 1_000_000.0
LOCAL_THETA = 10_000.0
LARGEST = 62  # layers of the model with 27 billion parameters
PERIOD = 6


def read_gemma3_rope(config: Mapping[str, Any]) -> Rope:
    """Rotary settings by layer type; older files scale only the full-attention layers."""
    parameters = section_of(config, "rope_parameters")
    full, sliding = (section_of(parameters, key) for key in LAYER_TYPES)
    full.update(section_of(config, "rope_scaling"))
    for section in (full, sliding):
        section.setdefault("rope_type", section.get("type", "default"))
    full.setdefault("rope_theta", config.get("rope_theta", GLOBAL_THETA))
    sliding.setdefault("rope_theta", config.get("rope_local_base_freq", LOCAL_THETA))
    return Rope(full, sliding)


def _has_windows(settings: Settings) -> bool:
    values = settings.values
    return values.get("sliding_window_pattern") != 1 and values.get("sliding_window") is not None


def check_gemma3(settings: Settings) -> None:
    """Refuse an attention that llama.cpp computes otherwise: one layer in six has no window."""
    require_scale(settings, LARGEST)
    layers, values = settings.layers, settings.values
    built_in = every_nth_full(layers, PERIOD if _has_windows(settings) else 1)
    types = values.get("layer_types")
    if isinstance(types, list):
        require_windows(types, built_in)
        return
    for key in ("sliding_window_pattern", "_sliding_window_pattern"):
        if values.get(key) is not None and _has_windows(settings):
            require_windows(every_nth_full(layers, whole(values, key)), built_in)


def gemma3_items(settings: Settings, prefix: str, vocab: int) -> list[Item]:
    """The common metadata, window and soft cap."""
    values = settings.values
    if values.get("attn_logit_softcapping") is not None:
        raise UnsupportedError(
            "This Gemma 3 model caps its attention logits ('attn_logit_softcapping'), which "
            "llama.cpp's gemma3 architecture does not do."
        )
    items = common_items(settings, prefix)
    if values.get("final_logit_softcapping"):
        cap = real(values, "final_logit_softcapping")
        items.append((f"{prefix}.final_logit_softcapping", cap, "f32"))
    if _has_windows(settings):
        items.append((f"{prefix}.attention.sliding_window", whole(values, "sliding_window"), "u32"))
    return items


GEMMA3 = Family(
    name="gemma3",
    gguf_arch="gemma3",
    hf_names=frozenset({"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"}),
    defaults={
        "vocab_size": 262_208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "sliding_window": 4096,
        "query_pre_attn_scalar": 256,
    },
    layer=(*GEMMA_NORMS, *HEAD_NORMS, *QUERY_KEY_VALUE, ATTENTION_OUTPUT, *MLP),
    items=gemma3_items,
    check=check_gemma3,
    read_rope=read_gemma3_rope,
    norm_offset=1.0,
    ignored=(*BUFFERS, r"^(model\.)?(vision_tower|multi_modal_projector)\."),
    refused_flags=("attention_bias",),
    wrapped=True,
)
