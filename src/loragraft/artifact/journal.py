"""What of a long job is finished, in lines that survive a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loragraft.artifact.closing import Closing
from loragraft.artifact.space import explain_full_disk

_VERSION = 1


class Journal(Closing):
    """An append-only file of JSON lines, bound to one run; a context manager.

    The first line names the run's key: whatever decides the result (inputs' hashes, options,
    versions). A journal with another key belongs to other work and is emptied. A last line that
    was cut off, and everything behind a garbled one, is dropped.

    Lines are handed to the system but not flushed to the disk each time: after a power cut the
    last may be missing or describe bytes that are. What they describe must therefore be checked,
    as ``HashingFile.resume`` does by hash.

    Attributes:
        entries: What was finished when the journal was opened, and since.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Open a journal, or begin one.

        Args:
            path: The file.
            key: What the run depends on, as one string.
        """
        self.path = path
        self.entries: list[dict[str, Any]] = []
        size = self._read(key)
        self._file = path.open("r+b" if size else "wb", buffering=0)
        self._file.truncate(size)
        self._file.seek(size)
        if not size:
            self._append({"journal": _VERSION, "key": key})

    def _read(self, key: str) -> int:
        """Load the entries; return how many bytes of the file are good."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        good = 0
        for number, line in enumerate(data.splitlines(keepends=True)):
            entry = _parse_line(line)
            if entry is None:
                break
            if number == 0:
                if entry != {"journal": _VERSION, "key": key}:
                    return 0
            else:
                self.entries.append(entry)
            good += len(line)
        return good

    def append(self, entry: dict[str, Any]) -> None:
        """Note that something is finished.

        Args:
            entry: What, as a JSON object.

        Raises:
            OutOfSpaceError: If the disk is full.
        """
        self._append(entry)
        self.entries.append(entry)

    def _append(self, entry: dict[str, Any]) -> None:
        # ASCII without line breaks, so that one write is one line.
        line = json.dumps(entry, allow_nan=False).encode("ascii") + b"\n"
        with explain_full_disk(self.path, len(line)):
            rest = memoryview(line)
            while len(rest):
                rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Close the file; twice does no harm."""
        self._file.close()


def _parse_line(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
