"""Values of controls, kept beside their series: a second report opens no model for them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from loragraft.artifact.files import write_atomically

NAME = "controls.json"
"""In a series' folder."""
LARGEST = 256 * 1024 * 1024
"""Bytes that are read. Five thousand questions and ten experiments have ten million."""

Kept = dict[str, dict[str, float]]
"""Values by metric or answer, then by question."""


class ControlCache:
    """What was computed before, each under a key of all that decides it.

    A file that cannot be read, or is not what it should be, counts for nothing: it is written anew.
    """

    def __init__(self, folder: Path) -> None:
        """Read what a series' folder holds."""
        self._path = folder / NAME
        self._entries = _entries(self._path)
        self._changed = False

    def find(self, name: str, key: str) -> Kept | None:
        """Return what is kept under a name, if its key is still the same."""
        entry = self._entries.get(name)
        if not isinstance(entry, Mapping) or entry.get("key") != key:
            return None
        return _kept(entry.get("values"))

    def keep(self, name: str, key: str, values: Kept) -> None:
        """Remember values; they are on disk after :meth:`save`."""
        self._entries[name] = {"key": key, "values": values}
        self._changed = True

    def save(self) -> None:
        """Write what is new, where there is a folder that can be written.

        Raises:
            OutOfSpaceError: The disk is full.
        """
        if self._changed and self._path.parent.is_dir():
            text = json.dumps({"schema_version": 1, "entries": self._entries}, allow_nan=False)
            with suppress(OSError):  # a folder that is only to be read: it is computed again
                write_atomically(self._path, text.encode("ascii"))
            self._changed = False


def _entries(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST:
            return {}
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    entries = values.get("entries") if isinstance(values, dict) else None
    return entries if isinstance(entries, dict) else {}


def _kept(values: object) -> Kept | None:
    if not isinstance(values, dict):
        return None
    found: Kept = {}
    for name, some in values.items():
        if not isinstance(some, dict) or not all(map(_finite, some.values())):
            return None
        found[name] = {question: float(value) for question, value in some.items()}
    return found


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
