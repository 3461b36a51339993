"""Finding the family of a checkpoint, and refusing what is none of ours with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loragraft.checkpoint.bases import full_precision_name, quantization_of
from loragraft.errors import CheckpointError, UnsupportedError
from loragraft.export.architectures.family import Family
from loragraft.export.architectures.gemma2 import GEMMA2
from loragraft.export.architectures.gemma3 import GEMMA3
from loragraft.export.architectures.llama import LLAMA
from loragraft.export.architectures.mistral import MISTRAL
from loragraft.export.architectures.phi3 import PHI3
from loragraft.export.architectures.qwen2 import QWEN2
from loragraft.export.architectures.qwen3 import QWEN3

FAMILIES: tuple[Family, ...] = (LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA2, GEMMA3, PHI3)

EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")
MIXTURE_MARKS = ("moe", "mixtral", "deepseekv")
MULTIMODAL_MARKS = ("forconditionalgeneration", "vlfor", "vforcausallm", "mmforcausallm", "llava")


def find_family(config: Mapping[str, Any], *, name: str | None = None) -> Family:
    """The family that config.json names.

    Args:
        config: config.json, a nested `text_config` laid over it.
        name: The base's hub id, if known; it helps to name the full-precision base.

    Raises:
        CheckpointError: If the weights are quantized.
        UnsupportedError: If no family takes the architecture.
    """
    refuse_quantized(config, name=name)
    names = [str(architecture) for architecture in config.get("architectures") or []]
    for family in FAMILIES:
        if names and names[0] in family.hf_names:
            _refuse_experts(config, names[0])
            return family
    raise UnsupportedError(_explain(names))


def refuse_quantized(config: Mapping[str, Any], *, name: str | None = None) -> None:
    """Refuse a base whose weights are quantized.

    Raises:
        CheckpointError: With the name of the full-precision base, where it can be told.
    """
    method = quantization_of(config)
    if method is None:
        return
    raise CheckpointError(
        f"The base is quantized ({method}), and an adapter is merged into full-precision weights "
        f"only. {_full_precision_hint(config, name)}"
    )


def _full_precision_hint(config: Mapping[str, Any], name: str | None) -> str:
    for candidate in (name, config.get("_name_or_path")):
        found = full_precision_name(candidate) if isinstance(candidate, str) else None
        if found is not None:
            return f"Give {found[0]} instead ({found[1]})."
    return "Give the checkpoint it was quantized from instead."


def _refuse_experts(config: Mapping[str, Any], name: str) -> None:
    for key in EXPERT_COUNTS:
        if config.get(key):
            raise UnsupportedError(
                f"{name} with {config[key]} experts ({key}) is a mixture of experts. {_ways()}"
            )


def _explain(names: list[str]) -> str:
    if not names:
        return f"config.json names no architecture ('architectures' is missing or empty). {_ways()}"
    lower = names[0].lower()
    if any(mark in lower for mark in MIXTURE_MARKS):
        return f"{names[0]} is a mixture of experts, which loragraft does not export. {_ways()}"
    if any(mark in lower for mark in MULTIMODAL_MARKS):
        return f"{names[0]} is a multimodal model, which loragraft does not export. {_ways()}"
    return f"The architecture {names[0]} is not one that loragraft exports. {_ways()}"


def _ways() -> str:
    names = sorted(name for family in FAMILIES for name in family.hf_names)
    return (
        f"Supported are {', '.join(names)}. For others let llama.cpp's script convert the merged "
        "checkpoint: --converter PATH/convert_hf_to_gguf.py"
    )
