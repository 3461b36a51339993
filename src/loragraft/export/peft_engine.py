"""PEFT's own merge, strictly: nothing missing, nothing unexpected, nothing silently tied.

PEFT 0.21 reports missing and unexpected keys only in what ``load_adapter`` returns, merges NaN
without ``safe_merge``, and adds a LoRA on one side of tied embeddings to both. Each of these is
an error or is handled here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loragraft.adapter.findings import quote
from loragraft.adapter.locate import AdapterLocation, locate_adapter
from loragraft.adapter.peft_loading import (
    OVERHEAD_BYTES,
    attach_strictly,
    load_checkpoint,
    peft_folder,
    require_packages,
)
from loragraft.adapter.reader import open_adapter
from loragraft.checkpoint.model import Checkpoint, read_json
from loragraft.checkpoint.safetensors import TensorInfo, read_header
from loragraft.errors import (
    AdapterError,
    NonFiniteError,
    UnsupportedError,
)

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_EMBEDDINGS = ("embed_tokens.", "wte.", "word_embeddings.")
_HEADS = ("lm_head.", "embed_out.")


def require_peft() -> None:
    """Raise unless torch, transformers and peft are installed.

    Raises:
        MissingExtraError: Naming the first that is not.
    """
    require_packages("Merging with PEFT", "torch", "transformers", "peft")


def checkpoint_parameters(base: Path) -> int:
    """Return the number of values in a checkpoint, from the headers of its shards."""
    with Checkpoint(base) as checkpoint:
        return sum(info.size for info in checkpoint.tensors.values())


def memory_needed(base: Path, dtype: str) -> int:
    """Return the bytes that a whole model and the libraries take."""
    return checkpoint_parameters(base) * DTYPE_BYTES[dtype] + OVERHEAD_BYTES


def load_model(base: Path, dtype: str) -> Any:  # noqa: ANN401 - a transformers model
    """Load a base whole, in the given type, on the CPU.

    Raises:
        MissingExtraError: If a package is missing.
        UnsupportedError: If the base is quantized.
        CheckpointError: If weights of the model are missing, or transformers cannot load it.
    """
    require_peft()
    config = read_json(base / "config.json")
    quantized = config.get("quantization_config")
    if isinstance(quantized, dict):
        raise UnsupportedError(
            f"{base} is quantized ({quantized.get('quant_method', 'unknown')}): merging into it "
            "would round the adapter away. Give the full-precision base."
        )
    from transformers.utils import logging

    logging.disable_progress_bar()
    return load_checkpoint(base, dtype)


def merge_adapters(
    model: Any,  # noqa: ANN401 - a transformers model
    adapters: Sequence[tuple[Path, float]],
) -> tuple[Any, tuple[str, ...]]:
    """Merge adapters into a loaded model by ``merge_and_unload``, one after the other.

    Args:
        model: What :func:`load_model` gave; it is changed.
        adapters: Each adapter's path and the factor on its scale.

    Returns:
        The merged model, and what was decided or warned of on the way.

    Raises:
        AdapterError: If a key does not land, or sizes differ.
        UnsupportedError: If the adapter's type cannot be merged.
        NonFiniteError: If the merge gives NaN or Inf.
    """
    notes: list[str] = []
    refuse_erasing([path for path, _ in adapters])
    for path, scale in adapters:
        location = locate_adapter(path)
        with peft_folder(location) as folder:
            model = _merge_one(model, folder, location, scale, notes)
    check_finite(model)
    return model, tuple(notes)


def refuse_erasing(adapters: Sequence[Path]) -> None:
    """Refuse an adapter whose whole matrices would erase what one before it changed.

    PEFT saves the matrix under an adapted embedding or head along and loads it over the merged
    one, whose change is gone then.

    Raises:
        AdapterError: Naming the matrices.
    """
    changed: set[str] = set()
    for path in adapters:
        with open_adapter(path) as adapter:
            brought = {*adapter.saved, *adapter.frozen}
            erased = sorted(brought & changed)
            if erased:
                raise AdapterError(
                    f"{path} brings {quote(erased)} whole, which would erase what an adapter "
                    "before it changed there. Take --engine stream, or merge only one of them."
                )
            changed |= brought | {f"{name}.weight" for name in adapter.modules}
            changed |= {f"{name}.weight" for name in adapter.token_rows}


def _merge_one(
    model: Any,  # noqa: ANN401
    folder: Path,
    location: AdapterLocation,
    scale: float,
    notes: list[str],
) -> Any:  # noqa: ANN401
    tensors, _ = read_header(location.weights)
    config = read_json(location.config)
    _resize(model, tensors, location.folder, notes)
    untied = _untie_for(model, tensors, config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrapped = attach_strictly(model, folder, location.folder).model
        if scale != 1.0:
            _rescale(wrapped, scale, location.folder)
        try:
            merged = wrapped.merge_and_unload(safe_merge=True)
        except ValueError as error:
            raise NonFiniteError(
                f"Merging {location.folder} gives NaN or Inf ({error}). Check the adapter's file "
                "and its scale."
            ) from error
        except (NotImplementedError, AttributeError) as error:
            kind = config.get("peft_type")
            raise UnsupportedError(f"PEFT cannot merge adapters of type {kind}: {error}") from error
    notes.extend(_said(caught))
    if untied:
        notes.append(_tie_again(merged))
    return merged


def _said(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """Return each warning once; deprecations are for developers of the libraries."""
    ours = [w for w in caught if not issubclass(w.category, (FutureWarning, DeprecationWarning))]
    return list(dict.fromkeys(f"PEFT: {str(item.message).strip()}" for item in ours))


def _rescale(wrapped: Any, scale: float, shown: Path) -> None:  # noqa: ANN401
    from peft.utils import AuxiliaryTrainingWrapper

    scaled = 0
    for module in wrapped.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            raise AdapterError(
                f"{shown} replaces whole tensors, which cannot be scaled by {scale}. "
                "Leave its --scale at 1."
            )
        scaling = getattr(module, "scaling", None)
        if isinstance(scaling, dict) and "default" in scaling:
            scaling["default"] *= scale
            scaled += 1
    if not scaled:
        raise AdapterError(f"{shown} is of a type without a scale. Leave its --scale at 1.")


def check_finite(model: Any) -> None:  # noqa: ANN401
    """Raise unless every weight is finite.

    Raises:
        NonFiniteError: Naming the first that is not.
    """
    import torch

    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise NonFiniteError(
                f"{name} holds NaN or Inf after the merge. Check base, adapter and scale; in "
                "float16 large weights overflow: use bfloat16 or float32."
            )


def _role(key: str, parts: Sequence[str]) -> bool:
    return any(f".{part}" in f".{key}" for part in parts)


def saved_rows(tensors: Mapping[str, TensorInfo]) -> int | None:
    """Return the vocabulary's size as an adapter's tensors show it, or None if none does."""
    for key, info in tensors.items():
        if not _role(key, _EMBEDDINGS) and not _role(key, _HEADS):
            continue
        last = key.rsplit(".", 1)[-1]
        if "lora_embedding_A" in key:
            return info.shape[1]
        if "lora_B" in key and _role(key, _HEADS):
            return info.shape[0]
        if "lora_" not in key and last == "weight" and len(info.shape) == 2:
            return info.shape[0]
    return None


def _resize(
    model: Any,  # noqa: ANN401
    tensors: Mapping[str, TensorInfo],
    folder: Path,
    notes: list[str],
) -> None:
    """Give the model the vocabulary that the adapter's tensors were made for."""
    rows = saved_rows(tensors)
    present = int(model.get_input_embeddings().weight.shape[0])
    if rows is not None and rows != present:
        model.resize_token_embeddings(rows, mean_resizing=False)
        notes.append(f"the vocabulary was resized from {present} to {rows} rows, as {folder} asks")
        return
    tokens = _highest_token(folder)
    if rows is None and tokens >= present:
        raise AdapterError(
            f"{folder} brings a tokenizer with token {tokens}, but the base has {present} rows and "
            "the adapter none for it: the embeddings of its new tokens were not saved. Save it "
            "with modules_to_save=['embed_tokens', 'lm_head']."
        )


def _highest_token(folder: Path) -> int:
    """Return the highest token id of a folder's tokenizer.json, or -1."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return -1
    tokenizer = read_json(path)
    added, model = tokenizer.get("added_tokens"), tokenizer.get("model")
    ids = [t.get("id") for t in added if isinstance(t, dict)] if isinstance(added, list) else []
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        ids += vocabulary.values()
    elif isinstance(vocabulary, list):  # Unigram: pieces with their scores
        ids.append(len(vocabulary) - 1)
    return max((token for token in ids if type(token) is int), default=-1)


def _untie_for(
    model: Any,  # noqa: ANN401
    tensors: Mapping[str, TensorInfo],
    config: Mapping[str, Any],
) -> bool:
    """Separate tied embeddings where the adapter changes one side; say whether it was done."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is not embedding.weight:
        return False
    touched = [k for k in tensors if _role(k, _EMBEDDINGS) or _role(k, _HEADS)]
    trained = [key for key in touched if "trainable_tokens" not in key]
    if not trained or config.get("ensure_weight_tying"):
        return False
    only_saved = not any(_role(key, _HEADS) or "lora_" in key for key in trained)
    in_config = any("embed" in name for name in config.get("modules_to_save") or [])
    if only_saved and not in_config:
        return False  # a resized vocabulary, saved once for both sides
    import torch

    head.weight = torch.nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
    _set_tied(model, tied=False)
    return True


def _set_tied(model: Any, *, tied: bool) -> None:  # noqa: ANN401
    model.config.tie_word_embeddings = tied
    model.config.get_text_config().tie_word_embeddings = tied


def _tie_again(model: Any) -> str:  # noqa: ANN401
    import torch

    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head.weight.shape == embedding.weight.shape and torch.equal(head.weight, embedding.weight):
        head.weight = embedding.weight
        _set_tied(model, tied=True)
        return "the adapter changed both sides of the tied embeddings alike: kept tied"
    return "the adapter changed one side of the tied embeddings: written apart (untied)"
