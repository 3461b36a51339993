"""SQLite files that meet a full disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loragraft.artifact.space import format_bytes, free_disk
from loragraft.errors import OutOfSpaceError


@contextmanager
def explain_full_database(path: Path, next_step: str) -> Iterator[None]:
    """Turn SQLite's "database or disk is full" into our error; others pass.

    Args:
        path: The file that is written.
        next_step: What to do once there is room, as a sentence.

    Raises:
        OutOfSpaceError: In its place.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        if "full" not in str(error):
            raise
        raise OutOfSpaceError(
            f"The disk filled up while {path} was written; {format_bytes(free_disk(path))} are "
            f"left. Free some. {next_step}"
        ) from error
