"""The adapter in its final form, and the configuration that it was trained with."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from loragraft.artifact.files import write_atomically
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import NonFiniteError
from loragraft.training.config import TrainConfig
from loragraft.training.spelling import spell_config

WEIGHTS_NAME = "adapter_model.safetensors"
CONFIG_NAME = "training_config.yaml"
ADAPTER = "default"
"""What PEFT calls an adapter that nobody named."""


def save_adapter(model: Any, folder: Path, config: TrainConfig) -> None:  # noqa: ANN401
    """Write a PEFT model's adapter as PEFT loads it: ``adapter_config.json`` and its weights.

    Args:
        model: A ``PeftModel`` with one adapter.
        folder: An existing folder.
        config: Names the base, its revision and the type of the weights.

    Raises:
        NonFiniteError: If a weight is no number in that type.
        OutOfSpaceError: If the disk is full.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    settings = copy.deepcopy(model.peft_config[ADAPTER])
    settings.base_model_name_or_path = config.base
    settings.revision = config.revision
    settings.inference_mode = True
    if isinstance(settings.target_modules, set):  # an order that no hash decides
        settings.target_modules = sorted(settings.target_modules)
    # Embeddings belong to an adapter only where they are trained, and then they are in it anyway.
    state = get_peft_model_state_dict(model, adapter_name=ADAPTER, save_embedding_layers=False)
    data = save(_converted(state, config.adapter_dtype), metadata={"format": "pt"})
    with explain_full_disk(folder, len(data)):
        settings.save_pretrained(str(folder))
        (folder / WEIGHTS_NAME).write_bytes(data)


def _converted(state: dict[str, Any], name: str) -> dict[str, Any]:
    import torch

    dtype = getattr(torch, name)
    converted = {key: value.detach().cpu().to(dtype).contiguous() for key, value in state.items()}
    broken = [key for key, value in converted.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise NonFiniteError(
            f"{len(broken)} tensors of the adapter hold values that {name} has no number for, "
            f"{broken[0]} first. Set adapter_dtype: float32, or train with a smaller "
            "optimiser.learning_rate."
        )
    return converted


def save_config(config: TrainConfig, folder: Path, stands: Path) -> None:
    """Write ``training_config.yaml``, which reads back as the same where the folder will stand.

    Args:
        config: The run's.
        folder: To write into.
        stands: The folder's final path, which paths are spelled relative to.
    """
    note = "What the adapter beside this file was trained with, defaults included."
    text = spell_config(relative_to(config, stands), note)
    write_atomically(folder / CONFIG_NAME, text.encode())


def relative_to(config: TrainConfig, folder: Path) -> TrainConfig:
    """Return a configuration whose paths are relative to a folder."""
    data = config.data
    changed = {
        "splits": _relative(data.splits, folder),
        "train": tuple(_relative(path, folder) for path in data.train),
        "validation": None if data.validation is None else _relative(data.validation, folder),
        "corpus": None if data.corpus is None else _relative(data.corpus, folder),
    }
    return config.model_copy(update={"data": data.model_copy(update=changed)})


def _relative(path: Path, folder: Path) -> Path:
    try:
        return Path(os.path.relpath(path, folder))
    except ValueError:  # on another drive
        return path.resolve()
