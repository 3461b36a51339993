"""Find the adapter in what a user points at: a folder, a trainer's output, a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loragraft.checkpoint.files import read_small
from loragraft.errors import AdapterError, UnsupportedError

CONFIG_NAME = "adapter_config.json"
WEIGHT_NAMES = ("adapter_model.safetensors", "adapter.safetensors", "adapters.safetensors")
"""In order of preference: PEFT's own name, a hand-renamed one, MLX's name."""

PICKLE_NAMES = ("adapter_model.bin", "adapter.bin", "adapter_model.pt", "adapter_model.pth")
_PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2"})
_MLX_KEYS = ("fine_tune_type", "lora_parameters", "lora_layers")
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,18})")
_LISTED = 8
_MAX_CONFIG_BYTES = 16 * 1024 * 1024
"""A config of some kilobytes is usual; beyond this it is something else."""


@dataclass(frozen=True)
class AdapterLocation:
    """Where an adapter lies.

    Attributes:
        folder: The folder that holds weights and configuration.
        weights: The safetensors file.
        config: Its ``adapter_config.json``.
        format: Whose layout it is.
        notes: What was decided on the way here, in sentences for the user.
    """

    folder: Path
    weights: Path
    config: Path
    format: Literal["peft", "mlx"]
    notes: tuple[str, ...] = ()


def read_config(path: Path) -> dict[str, Any]:
    """Read an ``adapter_config.json`` as a JSON object.

    Raises:
        AdapterError: If the file is missing, unreadable, huge or no JSON object.
    """
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise AdapterError(
                f"{path} has {path.stat().st_size} bytes; an adapter's configuration has some "
                "thousand. Check what was copied there."
            )
        value = json.loads(read_small(path, _MAX_CONFIG_BYTES).decode("utf-8"))
    except FileNotFoundError:
        raise AdapterError(
            f"{path} does not exist, so rank, alpha and type are unknown. Copy it from where the "
            "adapter was trained."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(
            f"{path} is not readable as JSON ({error}). Copy it again from where the adapter was "
            "trained."
        ) from None
    if not isinstance(value, dict):
        raise AdapterError(f"{path} holds a {type(value).__name__}, expected a JSON object.")
    return value


def refuse_pickle(path: Path) -> UnsupportedError:
    """Return the error for weights in a pickle, which can run code when they are read."""
    return UnsupportedError(
        f"{path} is a pickle: reading one can run code that its author put there. Convert it in a "
        "sandbox you can throw away, with torch.load(path, weights_only=True) and "
        "safetensors.torch.save_file(weights, 'adapter_model.safetensors'), and give that folder."
    )


def locate_adapter(path: Path) -> AdapterLocation:
    """Find an adapter at a path.

    Taken are: a safetensors file; a folder with one; a trainer's output folder, whose last
    ``checkpoint-*`` by number counts when it has no adapter of its own; a folder with exactly one
    sub-folder that holds an adapter.

    Raises:
        AdapterError: If there is nothing, or more than one adapter, or it cannot be read.
        UnsupportedError: If the weights are a pickle, a GGUF file or an archive.
    """
    path = _existing(Path(path))
    try:
        return _in_file(path) if path.is_file() else _in_tree(path)
    except OSError as error:
        raise AdapterError(
            f"Cannot read {error.filename or path}: {error.strerror or error}. "
            "Check the permissions and links there."
        ) from None


def _existing(path: Path) -> Path:
    try:
        path.resolve(strict=True)
        path.stat()
    except FileNotFoundError:
        raise AdapterError(f"{path} does not exist. Give an adapter folder or file.") from None
    except RuntimeError:
        raise AdapterError(f"{path} is a link that leads back to itself.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AdapterError(f"Cannot read {path}: {reason}. Check permissions and links.") from None
    return path


def _in_file(path: Path) -> AdapterLocation:
    suffix = path.suffix.lower()
    if suffix in _PICKLE_SUFFIXES:
        raise refuse_pickle(path)
    if suffix == ".gguf":
        raise UnsupportedError(
            f"{path} is a GGUF file, not a PEFT adapter. Give the folder it was converted from."
        )
    if suffix in _ARCHIVE_SUFFIXES:
        raise UnsupportedError(f"{path} is an archive. Unpack it and give the adapter's folder.")
    if path.name == CONFIG_NAME:
        return _in_tree(path.parent)
    if suffix != ".safetensors":
        raise AdapterError(f"{path} is no safetensors file. Give an adapter folder or file.")
    return _describe(path.parent, path, ())


def _in_tree(folder: Path) -> AdapterLocation:
    if not folder.is_dir():
        raise AdapterError(f"{folder} is neither a file nor a folder. Give an adapter folder.")
    weights = _weights_in(folder)
    if weights is not None:
        return _describe(folder, weights, _notes_in(folder, weights))
    found = _in_last_checkpoint(folder) or _in_subfolder(folder)
    if found is not None:
        return found
    for name in PICKLE_NAMES:
        if (folder / name).is_file():
            raise refuse_pickle(folder / name)
    raise AdapterError(_explain_nothing(folder))


def _weights_in(folder: Path) -> Path | None:
    """Return the weights in a folder itself, by order of preference."""
    for name in WEIGHT_NAMES:
        if (folder / name).is_file():
            return folder / name
    return None


def _notes_in(folder: Path, weights: Path) -> tuple[str, ...]:
    others = [n for n in (*WEIGHT_NAMES, *PICKLE_NAMES) if (folder / n).is_file()]
    unused = [name for name in others if name != weights.name]
    return (f"{weights.name} is read; {', '.join(unused)} beside it is not.",) if unused else ()


def _describe(folder: Path, weights: Path, notes: tuple[str, ...]) -> AdapterLocation:
    config = folder / CONFIG_NAME
    raw = read_config(config)
    return AdapterLocation(folder, weights, config, _format(raw), notes)


def _format(raw: Mapping[str, Any]) -> Literal["peft", "mlx"]:
    is_mlx = "peft_type" not in raw and any(key in raw for key in _MLX_KEYS)
    return "mlx" if is_mlx else "peft"


def _in_last_checkpoint(folder: Path) -> AdapterLocation | None:
    numbered = [(int(match[1]), child) for child in folder.iterdir()
                if (match := _CHECKPOINT.fullmatch(child.name)) and child.is_dir()]  # fmt: skip
    numbered.sort(reverse=True, key=lambda pair: pair[0])
    skipped: list[str] = []
    for _, child in numbered:
        weights = _weights_in(child)
        if weights is not None:
            note = f"{folder.name} holds no adapter itself: its {child.name} is used"
            note += f" ({', '.join(skipped)} without one)." if skipped else "."
            return _describe(child, weights, (note, *_notes_in(child, weights)))
        skipped.append(child.name)
    for _, child in numbered:
        for name in PICKLE_NAMES:
            if (child / name).is_file():
                raise refuse_pickle(child / name)
    return None


def _in_subfolder(folder: Path) -> AdapterLocation | None:
    children = sorted(child for child in folder.iterdir() if (child / CONFIG_NAME).is_file())
    if len(children) > 1:
        names = ", ".join(child.name for child in children[:_LISTED])
        raise AdapterError(f"{folder} holds {len(children)} adapters: {names}. Give one of them.")
    if not children:
        return None
    child = children[0]
    found = _in_tree(child)
    note = f"{folder.name} holds no adapter itself: its sub-folder {child.name} is used."
    return AdapterLocation(
        found.folder, found.weights, found.config, found.format, (note, *found.notes)
    )


def _explain_nothing(folder: Path) -> str:
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir())
    if not names:
        return f"{folder} is empty. Give the folder that holds {WEIGHT_NAMES[0]}."
    if "model.safetensors" in names or "model.safetensors.index.json" in names:
        return (
            f"{folder} holds a whole model, not an adapter. Give it as the base, and the folder "
            f"with {WEIGHT_NAMES[0]} as the adapter."
        )
    links = [name for name in WEIGHT_NAMES if name in names and (folder / name).is_symlink()]
    if links:
        return f"{folder / links[0]} is a link that leads nowhere. Fetch the file it stands for."
    if CONFIG_NAME in names:
        return (
            f"{folder} holds {CONFIG_NAME} but no {WEIGHT_NAMES[0]}: the weights are missing. "
            "Fetch them as well."
        )
    listed = ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")
    return (
        f"{folder} holds no {WEIGHT_NAMES[0]} and no checkpoint-* with one. Found: {listed}. "
        "Give the adapter's own folder."
    )
