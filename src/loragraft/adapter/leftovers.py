"""What a training left beside an adapter: data, logs, optimizer states, other folds.

Names only; nothing is opened. Such files tell where an adapter comes from, and some should not
travel with it.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_ENTRIES = 5_000
"""Files and folders looked at: an adapter's folder has some ten."""
MAX_DEPTH = 3
"""Levels of folders: a trainer's output has checkpoints, and those have files."""

_DATA = r"jsonl|ndjson|csv|tsv|parquet|arrow|feather"
_SPLITS = r"train(?:ing)?|val(?:id(?:ation)?)?|dev|test|eval(?:uation)?|held-?out|dataset|data"

FILE_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("trainer state", r"trainer_state\.json|(?:all|train|eval|predict)_results\.json|"
                          r"training_args\.(?:bin|json|ya?ml)|EXPERIMENT_METADATA\.json"),
        ("optimizer state", r"(?:optimizer|scheduler|scaler)\.(?:pt|bin|pth)|"
                            r"rng_state(?:_\d+)?\.pth|.*optim_states\.pt|zero_to_fp32\.py|"
                            r"optimizer.*\.safetensors"),
        ("log", r".*\.log(?:\.\d+)?|events\.out\.tfevents\..*|.*\.wandb|nohup\.out|"
                r"(?:training_)?log(?:s|_history)?\.(?:txt|jsonl?|csv)"),
        ("data", rf".*\.(?:{_DATA})|(?:.*[-_.])?(?:{_SPLITS})(?:[-_.].*)?\.(?:json|txt|zip|gz)"),
        ("script", r".*\.(?:py|ipynb|sh|ya?ml|toml)"),
        ("adapter", r"adapter(?:_model|s)?\.(?:safetensors|bin|pt|pth)"),
        ("model", r"(?:pytorch_)?model(?:-\d+-of-\d+)?\.(?:safetensors|bin)|.*\.gguf"),
        ("pickle", r".*\.(?:bin|pt|pth|ckpt|pkl|pickle)"),
    )
)  # fmt: skip
"""Kinds of files by name, the first that fits."""

FOLDER_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("checkpoint", r"checkpoint-\d+|global_step\d+|step[-_]?\d+|epoch[-_]?\d+"),
        ("fold", r"(?:cv|fold|split)[-_]?\d{1,3}"),
        ("log", r"runs|wandb|mlruns|logs?|tensorboard"),
    )
)  # fmt: skip
"""Kinds of folders by name."""


@dataclass(frozen=True)
class Leftover:
    """One file or folder.

    Attributes:
        kind: What it is: a kind of :data:`FILE_KINDS` or :data:`FOLDER_KINDS`.
        name: Its path below the adapter's folder, with slashes; ``../`` for one beside it.
        size: In bytes; 0 for a folder.
    """

    kind: str
    name: str
    size: int


def find_leftovers(folder: Path) -> tuple[Leftover, ...]:
    """List what a training left in a folder, and other folds beside it.

    The adapter's own files in the folder itself are none. Links are not followed; what cannot be
    read is left out.
    """
    folder = folder.resolve()
    found = list(_walk(folder))
    if _kind(folder.name, FOLDER_KINDS) == "fold":
        found += [
            Leftover("fold", f"../{name}", 0) for name, path in _entries(folder.parent)
            if name != folder.name and path.is_dir() and _kind(name, FOLDER_KINDS) == "fold"
        ]  # fmt: skip
    return tuple(found)


def by_kind(leftovers: Sequence[Leftover]) -> Mapping[str, tuple[str, ...]]:
    """Return the names of each kind."""
    names: dict[str, list[str]] = defaultdict(list)
    for leftover in leftovers:
        names[leftover.kind].append(leftover.name)
    return {kind: tuple(found) for kind, found in sorted(names.items())}


def _walk(folder: Path) -> Iterator[Leftover]:
    """Go through a folder level by level, so that a huge one shows its upper files at least."""
    waiting, seen = [(folder, "")], 0
    for current, prefix in waiting:
        for name, path in _entries(current):
            seen += 1
            if seen > MAX_ENTRIES:
                return
            below = f"{prefix}{name}"
            if path.is_symlink() or not path.is_dir():
                kind = _kind(name, FILE_KINDS)
                if kind is not None and (prefix or kind != "adapter"):
                    yield Leftover(kind, below, _size(path))
                continue
            kind = _kind(name, FOLDER_KINDS)
            if kind is not None:
                yield Leftover(kind, f"{below}/", 0)
            if below.count("/") < MAX_DEPTH - 1:
                waiting.append((path, f"{below}/"))


def _entries(folder: Path) -> list[tuple[str, Path]]:
    try:
        return [(name, folder / name) for name in sorted(os.listdir(folder))]
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _kind(name: str, kinds: Sequence[tuple[str, re.Pattern[str]]]) -> str | None:
    return next((kind for kind, pattern in kinds if pattern.fullmatch(name)), None)
