"""Which modules of a base get an adapter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loragraft.errors import InputError
from loragraft.training.config import LoraSettings

FUSED: Mapping[str, str] = {
    "q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj",
}  # fmt: skip
"""Where a family (Phi-3) keeps several projections in one matrix: the part to the whole."""
_SHOWN = 12


def linear_modules(model: Any) -> tuple[str, ...]:  # noqa: ANN401 - a torch module
    """Return the full names of a model's linear modules, but for its output head."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return tuple(
        name for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head
    )  # fmt: skip


def choose_targets(settings: LoraSettings, modules: Sequence[str], base: str) -> tuple[str, ...]:
    """Return the names of modules that PEFT is given.

    A named set is translated where the base keeps several projections in one; names of the
    configuration are taken as they are.

    Args:
        settings: Of the adapter.
        modules: Full names of the base's modules.
        base: What to call the base in messages.

    Raises:
        InputError: If the base lacks one; names what it has.
    """
    wanted = settings.modules
    if isinstance(settings.targets, str):
        leaves = {name.rpartition(".")[2] for name in modules}
        wanted = tuple(
            dict.fromkeys(name if name in leaves else FUSED.get(name, name) for name in wanted)
        )
    missing = [name for name in wanted if not _found(name, modules)]
    if missing or not wanted:
        raise InputError(_explain(missing, modules, base))
    return wanted


def _found(name: str, modules: Iterable[str]) -> bool:
    """Whether PEFT would find a module by this name."""
    return any(module == name or module.endswith(f".{name}") for module in modules)


def _explain(missing: Sequence[str], modules: Sequence[str], base: str) -> str:
    leaves = sorted({name.rpartition(".")[2] for name in modules})
    more = f" and {len(leaves) - _SHOWN} more" if len(leaves) > _SHOWN else ""
    has = ", ".join(leaves[:_SHOWN]) + more or "none"
    lacks = f"{base} has no module {' and no '.join(missing)}" if missing else "No module is named"
    return f"{lacks} to adapt. Its linear modules: {has}. Name some of them in lora.targets."
