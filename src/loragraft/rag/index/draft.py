"""The next state of an index while it is made: a private copy of its store, and what moves where.

Rows are dense: 0 to n - 1, in the vectors' file as in the store. New chunks come behind the old
ones; where chunks left, the last ones move into the holes, so that little else changes.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.files import sync_file
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import InputError
from loragraft.rag.index.chunk_store import create_store, explain_database, open_to_write
from loragraft.rag.records import Chunk, Document, Skipped

_INSERT = "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Draft:
    """A store that is being changed.

    Attributes:
        path: Its file.
        old_rows: How many chunks the store had that it began with.
    """

    def __init__(self, path: Path, old: Path | None, old_rows: int) -> None:
        """Copy a store, or begin an empty one.

        Args:
            path: Where to write; what is there is overwritten.
            old: The store to begin with.
            old_rows: How many chunks that has.
        """
        self.path, self.old_rows = path, old_rows if old else 0
        path.unlink(missing_ok=True)
        if old is not None:
            with explain_full_disk(path, old.stat().st_size):
                shutil.copyfile(old, path)
        with explain_database(path):
            self._base = create_store(path) if old is None else open_to_write(path)
        self._next = self.old_rows
        self._holes: list[int] = []

    def put(self, document: Document, sha256: str, chunks: Sequence[Chunk]) -> None:
        """Add a document, or replace the one of its id.

        Raises:
            InputError: If a text or the metadata cannot be stored, or two chunks have one id.
        """
        self.remove(document.doc_id)
        try:
            shared = _shared(chunks)
            described = (_json(document.metadata), _json(shared), len(document.text))
            values = (document.doc_id, document.title, sha256, *described)
            with explain_database(self.path):
                cursor = self._base.execute(
                    "INSERT INTO documents(doc_id, title, sha256, metadata, shared, characters) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    values,
                )
                self._insert(int(cursor.lastrowid or 0), chunks, shared)
        except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError among them
            self.remove(document.doc_id)
            raise InputError(f"it cannot be stored: {error}") from None

    def _insert(self, key: int, chunks: Sequence[Chunk], shared: Mapping[str, Any]) -> None:
        for chunk in chunks:
            headings = json.dumps(chunk.headings, ensure_ascii=False)
            place = (self._next, chunk.chunk_id, key, headings, chunk.start, chunk.stop)
            own = {k: v for k, v in chunk.metadata.items() if k not in shared}
            content = (chunk.text, chunk.tokens, bytes.fromhex(chunk.sha256), _json(own))
            try:
                self._base.execute(_INSERT, (*place, *content))
            except sqlite3.IntegrityError:
                raise ValueError(f"two chunks have the id {chunk.chunk_id!r}") from None
            self._next += 1

    def remove(self, doc_id: str) -> None:
        """Remove a document, where it is there."""
        with explain_database(self.path):
            statement = "SELECT key FROM documents WHERE doc_id = ?"
            try:
                found = self._base.execute(statement, [doc_id]).fetchone()
            except UnicodeEncodeError:  # it cannot have been stored
                return
            if found is None:
                return
            rows = self._base.execute("SELECT row FROM chunks WHERE document = ?", found)
            self._holes.extend(row[0] for row in rows)
            self._base.execute("DELETE FROM chunks WHERE document = ?", found)
            self._base.execute("DELETE FROM documents WHERE key = ?", found)

    def set_skipped(self, skipped: Sequence[Skipped]) -> None:
        """Note what could not be read."""
        with explain_database(self.path):
            self._base.execute("DELETE FROM skipped")
            rows = [(_storable(s.source), _storable(s.reason)) for s in skipped]
            self._base.executemany("INSERT INTO skipped VALUES (?, ?)", rows)

    def settle(self) -> NDArray[np.int64]:
        """Close the holes.

        Returns:
            For each row from now on its row in the old store, or -1 for a new chunk.
        """
        source = np.full(self._next, -1, np.int64)
        source[: self.old_rows] = np.arange(self.old_rows)
        total = self._next - len(self._holes)
        gone = set(self._holes)
        moving = [row for row in range(total, self._next) if row not in gone]
        holes = sorted(row for row in gone if row < total)
        moves = list(zip(holes, moving, strict=True))
        with explain_database(self.path):
            self._base.executemany("UPDATE chunks SET row = ? WHERE row = ?", moves)
        for to, row in moves:
            source[to] = source[row]
        self._holes, self._next = [], total
        return source[:total]

    def counts(self) -> tuple[int, int]:
        """Return how many documents and chunks there are."""
        with explain_database(self.path):
            return tuple(  # type: ignore[return-value]
                int(self._base.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
                for table in ("documents", "chunks")
            )

    def finish(self) -> None:
        """Commit, close the file and flush it to the disk."""
        with explain_database(self.path):
            self._base.execute("COMMIT")
            self._base.close()
        with explain_full_disk(self.path):
            sync_file(self.path)

    def close(self) -> None:
        """Close the file; twice does no harm."""
        self._base.close()

    def discard(self) -> None:
        """Close and delete the file, where it has not become part of the index."""
        self.close()
        self.path.unlink(missing_ok=True)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, allow_nan=False)


def _shared(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """Return the metadata that all chunks of a document have."""
    if not chunks:
        return {}
    first, others = chunks[0].metadata, chunks[1:]
    absent = object()
    return {
        key: value
        for key, value in first.items()
        if all(chunk.metadata.get(key, absent) == value for chunk in others)
    }


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
