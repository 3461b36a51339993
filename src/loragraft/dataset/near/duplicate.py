"""What finds duplicates among texts that come in order, and what it says."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class Duplicate(NamedTuple):
    """A text that an earlier one says already.

    Attributes:
        of: Id of the earlier record, which was kept.
        score: How alike they are, at most 1: see what found it.
    """

    of: str
    score: float


class AppendedFile(Protocol):
    """A file that is only appended to, in the store's transaction."""

    path: Path
    size: int

    def append(self, data: bytes | memoryview) -> None:
        """Write bytes at the end; they can be read at once."""


class Store(Protocol):
    """Where a finder remembers: one SQLite transaction and files that belong to it."""

    connection: sqlite3.Connection

    def file(self, name: str) -> AppendedFile:
        """Return a file, as long as it was at the last commit and what was appended since."""


class Finder(Protocol):
    """Finds duplicates of what was kept; the first of several stays.

    What is remembered lives in the caller's store, inside the transaction that is open: nothing
    here commits, so that a job's position and what it remembers are committed together. What is
    found depends neither on how texts are grouped into batches nor on where a job was interrupted.
    """

    def begin(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Take a batch: whatever is cheaper for many at once is done here."""

    def find(self, number: int) -> Duplicate | None:
        """Return what a text of the batch is a duplicate of; earlier ones of it count if kept."""

    def keep(self, number: int) -> None:
        """Remember a text of the batch; texts come in order, looked up or not."""

    def end(self) -> None:
        """Leave the batch: what was remembered goes into the store, which may commit now."""


def check_many(
    finder: Finder, ids: Sequence[str], texts: Sequence[str], *, at_once: int = 1024
) -> list[Duplicate | None]:
    """Return what each text is a duplicate of, keeping those that are none."""
    found = []
    for first in range(0, len(texts), at_once):
        part = texts[first : first + at_once]
        finder.begin(ids[first : first + at_once], part)
        for number in range(len(part)):
            found.append(finder.find(number))
            if found[-1] is None:
                finder.keep(number)
        finder.end()
    return found


def table(name: str, part: str) -> str:
    """Return the name of a table for what a rule remembers, whatever the rule is called."""
    return f"near_{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:12]}_{part}"
