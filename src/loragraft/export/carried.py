"""Whose tokenizer goes into an export, where base and several adapters bring one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

VOCABULARY_FILES = ("tokenizer.json", "tokenizer.model")


def tokenizer_owner(adapters: Sequence[Path], base: Path) -> Path:
    """Return the folder whose tokenizer counts: the last adapter's that has one, or the base's.

    Args:
        adapters: The adapters' folders, in the order they are merged in.
        base: The base checkpoint's folder.
    """
    for folder in reversed(adapters):
        if any((folder / name).is_file() for name in VOCABULARY_FILES):
            return folder
    return base
