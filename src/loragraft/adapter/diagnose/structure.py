"""At which level of a model an adapter's keys point, and by which change of names they fit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.adapter.grouping import PREFIX
from loragraft.adapter.peft_loading import PEFT_CONFIG, PEFT_WEIGHTS

MAX_LEVELS = 6
"""Components before the first shared module that are tried: ``base_model.model.0.auto_model.``
has four, and a checkpoint's own prefix (``bert.``) and one more may follow."""
_MARKS = (".lora_A", ".lora_embedding_A")


@dataclass(frozen=True)
class Shift:
    """What stands before the keys of a file, and what should.

    Attributes:
        drop: The start of every key as it is.
        add: What should stand there instead, for the encoder or the language model.
    """

    drop: str
    add: str

    @property
    def needed(self) -> bool:
        """Whether the keys have to change at all."""
        return self.drop != self.add

    def apply(self, key: str) -> str:
        """Return a key with its start changed; keys with another start stay."""
        return self.add + key[len(self.drop) :] if key.startswith(self.drop) else key


def adapted_paths(keys: Iterable[str]) -> list[str]:
    """Return what stands before ``.lora_A`` in each key of a file, sorted."""
    found = {key[: key.index(mark)] for key in keys for mark in _MARKS if mark in key}
    return sorted(found)


def count_landing(paths: Iterable[str], modules: Collection[str]) -> int:
    """Count the paths that PEFT would find in a model with these module names."""
    return sum(p.startswith(PREFIX) and p.removeprefix(PREFIX) in modules for p in paths)


def find_shift(paths: Sequence[str], modules: Collection[str]) -> Shift | None:
    """Find the change of the keys' start by which all of them land in a model.

    Args:
        paths: What :func:`adapted_paths` gave.
        modules: Names of the model's modules.

    Returns:
        The change that drops least, which may be none at all; None if no change places all.
    """
    if not paths:
        return None
    parts = paths[0].split(".")
    for level in range(min(MAX_LEVELS, len(parts) - 1) + 1):
        drop = "".join(f"{part}." for part in parts[:level])
        if not all(path.startswith(drop) for path in paths):
            return None
        rests = [path[len(drop) :] for path in paths]
        for inside in _places(rests[0], modules):
            if all(inside + rest in modules for rest in rests):
                return Shift(drop, PREFIX + inside)
    return None


def _places(rest: str, modules: Collection[str]) -> list[str]:
    """Return what could stand before a name, shortest first.

    A number among it would be a layer's: weights of one layer do not belong to another.
    """
    ends = (name for name in modules if name == rest or name.endswith(f".{rest}"))
    places = (name[: len(name) - len(rest)] for name in ends)
    return sorted((p for p in places if not any(map(str.isdigit, p.split(".")))), key=len)


@contextmanager
def shifted_folder(folder: Path, shift: Shift) -> Iterator[Path]:
    """Write an adapter with changed keys into a temporary folder.

    The configuration then targets the modules by their full names, so that no prefix in it
    counts any more.
    """
    from safetensors.torch import load_file, save_file

    weights = {shift.apply(key): value for key, value in load_file(folder / PEFT_WEIGHTS).items()}
    config = json.loads((folder / PEFT_CONFIG).read_text(encoding="utf-8"))
    config["target_modules"] = [p.removeprefix(PREFIX) for p in adapted_paths(weights)]
    with tempfile.TemporaryDirectory() as name:
        save_file(weights, Path(name) / PEFT_WEIGHTS)
        (Path(name) / PEFT_CONFIG).write_text(json.dumps(config), encoding="utf-8")
        yield Path(name)


def hierarchy(model: Any, layers: Sequence[tuple[str, Any]]) -> str:  # noqa: ANN401
    """Say where the first adapted layer sits, from the outermost object inwards."""
    if not layers:
        return f"{type(model).__name__}, without any adapted layer"
    steps, current = [type(model).__name__], model
    for part in layers[0][0].split("."):
        current = current.get_submodule(part)
        steps.append(f"{part}: {type(current).__name__}")
    return " > ".join(steps)


def level_counts(paths: Sequence[str], levels: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Count at each level of a model how many of an adapter's modules land there."""
    return {name: count_landing(paths, modules) for name, modules in levels.items()}
