"""What a killed run goes on from: one SQLite file and the files that grow beside it.

All of it is bound to one key, which names whatever decides the result. A commit flushes the
growing files first and then writes their lengths and everything else in one transaction; opening
cuts the files back to these lengths. So a kill at any moment leaves the state of one commit.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from loragraft.artifact.closing import Closing
from loragraft.artifact.database import explain_full_database
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import InputError

DATABASE = "state.sqlite"
CACHE_KIB = 32 * 1024
"""Memory that SQLite may take for pages: rows remembered beyond it are read from the file."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS value (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file (name TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
"""


class GrowingFile(Closing):
    """A file that is only appended to.

    Attributes:
        path: Where it lies.
        size: Bytes written so far, committed or not.
    """

    def __init__(self, path: Path, size: int) -> None:
        """Open a file, cut to what was committed."""
        self.path, self.size = path, size
        path.touch()
        self._file = path.open("r+b", buffering=0)
        self._file.truncate(size)
        self._file.seek(size)

    def append(self, data: bytes | memoryview) -> None:
        """Write bytes at the end; they can be read, or mapped, at once.

        Raises:
            OutOfSpaceError: If the disk is full.
        """
        rest = memoryview(data).cast("B")
        while len(rest):
            with explain_full_disk(self.path, len(rest)):
                count = self._file.write(rest)
            self.size += count
            rest = rest[count:]

    def sync(self) -> None:
        """Flush to the disk."""
        with explain_full_disk(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; twice does no harm."""
        self._file.close()


class State(Closing):
    """The state of one run, in a folder of its own; the caller holds the lock.

    Attributes:
        folder: Where everything lies.
        connection: For tables of the rules; a transaction is always open, and only
            :meth:`commit` ends it.
        fresh: Whether nothing of this key was there.
        other: Whether there was something of another key, which is gone now.
        broken: Whether there was something of this key that lacks what was committed; it is gone.
    """

    def __init__(self, folder: Path, key: str) -> None:
        """Open the state of a key, or begin one.

        Args:
            folder: Made if missing. Whatever belongs to another key in it is deleted.
            key: What the run depends on, as one string.

        Raises:
            InputError: If something else lies where the folder shall be.
        """
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise InputError(f"{folder} is no folder, and the state of a run goes there: move it.")
        self.folder = folder
        self._files: dict[str, GrowingFile] = {}
        found = _key_of(folder)
        self.other = found not in (None, key)
        self.broken = found == key and not _is_whole(folder)
        self.fresh = found != key or self.broken
        if self.fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.connection = _connect(folder / DATABASE)
        try:
            if self.fresh:
                self.save("key", key)
                self.commit()
        except BaseException:
            self.close()
            raise

    def file(self, name: str) -> GrowingFile:
        """Return a file that grows with the state; the same one for the same name."""
        if name not in self._files:
            row = self.connection.execute("SELECT size FROM file WHERE name = ?", (name,))
            self._files[name] = GrowingFile(self.folder / name, next(row, (0,))[0])
        return self._files[name]

    def load(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - JSON
        """Return a small value that was saved."""
        row = self.connection.execute("SELECT value FROM value WHERE name = ?", (name,)).fetchone()
        return default if row is None else json.loads(row[0])

    def save(self, name: str, value: Any) -> None:  # noqa: ANN401 - JSON
        """Note a small value; it counts from the next commit on."""
        self.connection.execute(
            "INSERT OR REPLACE INTO value VALUES (?, ?)", (name, json.dumps(value))
        )

    def commit(self) -> None:
        """Make everything since the last commit last.

        Raises:
            OutOfSpaceError: If the disk is full; the state is that of the last commit.
        """
        for file in self._files.values():
            file.sync()
        sizes = [(name, file.size) for name, file in self._files.items()]
        with explain_database(self.folder):
            self.connection.executemany("INSERT OR REPLACE INTO file VALUES (?, ?)", sizes)
            self.connection.execute("COMMIT")
            self.connection.execute("BEGIN")

    def close(self) -> None:
        """Forget what was not committed, and close; twice does no harm."""
        for file in self._files.values():
            file.close()
        self.connection.close()


def explain_database(folder: Path) -> AbstractContextManager[None]:
    """Turn SQLite's "disk is full" into our error.

    Raises:
        OutOfSpaceError: In its place; other errors pass.
    """
    return explain_full_database(
        folder / DATABASE, "Then run the same command again, or choose another output folder."
    )


def _connect(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA locking_mode = EXCLUSIVE")  # no shared memory, on any file system
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = NORMAL")
    base.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    base.executescript(_SCHEMA)
    base.execute("BEGIN")
    return base


def _key_of(folder: Path) -> str | None:
    """Return the key of a folder's state, or None if it holds none that can be read."""
    try:
        (value,) = _ask(folder, "SELECT value FROM value WHERE name = 'key'")
        return str(json.loads(value[0]))
    except (sqlite3.DatabaseError, ValueError):
        return None


def _is_whole(folder: Path) -> bool:
    """Whether nobody damaged the database, and each file is as long as it was committed."""
    try:
        if _ask(folder, "PRAGMA quick_check(1)") != [("ok",)]:
            return False
        sizes = _ask(folder, "SELECT name, size FROM file")
        if any(_ask(folder, "SELECT 1 FROM value WHERE name = 'done'")):
            return True  # what is ready may have its name already
        return all((folder / name).stat().st_size >= size for name, size in sizes)
    except (OSError, sqlite3.DatabaseError):
        return False


def _ask(folder: Path, question: str) -> list[tuple[Any, ...]]:
    path = folder / DATABASE
    if not path.is_file():
        return []
    base = sqlite3.connect(path, isolation_level=None)
    try:
        return base.execute(question).fetchall()
    finally:
        base.close()
