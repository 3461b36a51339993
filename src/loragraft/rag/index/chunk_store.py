"""Documents and chunks in SQLite: read by everybody, written by one."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from loragraft.artifact.closing import Closing
from loragraft.artifact.database import explain_full_database
from loragraft.errors import InputError, UnavailableError
from loragraft.rag.records import Chunk, Skipped

APPLICATION_ID = 0x4C475258
"""Tells our files from other SQLite ones: the letters LGRX."""
_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
CREATE TABLE documents(
    key INTEGER PRIMARY KEY, doc_id TEXT NOT NULL UNIQUE, title TEXT NOT NULL,
    sha256 TEXT NOT NULL, metadata TEXT NOT NULL, shared TEXT NOT NULL,
    characters INTEGER NOT NULL);
CREATE TABLE chunks(
    row INTEGER PRIMARY KEY, chunk_id TEXT NOT NULL UNIQUE,
    document INTEGER NOT NULL REFERENCES documents(key), headings TEXT NOT NULL,
    start INTEGER NOT NULL, stop INTEGER NOT NULL, text TEXT NOT NULL, tokens INTEGER NOT NULL,
    sha256 BLOB NOT NULL, own TEXT NOT NULL);
CREATE INDEX chunks_document ON chunks(document);
CREATE INDEX chunks_sha256 ON chunks(sha256);
CREATE TABLE skipped(source TEXT NOT NULL, reason TEXT NOT NULL);
"""
"""``metadata`` is a document's; ``shared`` the part of it that all its chunks have, ``own`` what
one chunk has beside that (its page)."""
_FOREIGN = """SELECT count(*) FROM sqlite_master
              WHERE type NOT IN ('table', 'index') OR sql LIKE 'create virtual%'"""
"""Counts what would run a stranger's statements when we read or write."""
_CHUNK = """
SELECT c.row, c.chunk_id, d.doc_id, d.title, c.headings, c.start, c.stop, c.text, c.tokens,
       c.sha256, d.shared, c.own
FROM chunks c JOIN documents d ON d.key = c.document
"""
_MANY = 500
"""Values in one statement: SQLite took at most 999 for long."""
_CACHE_KIB = 64 * 1024


@dataclass(frozen=True)
class StoredDocument:
    """A document of an index, without its text.

    Attributes:
        doc_id: Unique.
        title: For people.
        metadata: As its source gave it.
        sha256: Of all of it, text included.
        characters: Of its text.
        chunks: How many.
    """

    doc_id: str
    title: str
    metadata: dict[str, Any]
    sha256: str
    characters: int
    chunks: int


@contextmanager
def explain_database(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours.

    Raises:
        OutOfSpaceError: If the disk is full.
        UnavailableError: If the disk fails.
        InputError: If the file is damaged.
    """
    try:
        with explain_full_database(path, "Then run the same command again: what is done is kept."):
            yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if "disk I/O" in str(error):
            raise UnavailableError(
                f"{path} cannot be read or written: {error}. Check the disk, its quota and the "
                "limits of this process, and run the same command again."
            ) from error
        raise InputError(
            f"{path} cannot be read: {error}. loragraft rag verify tells what is damaged; build "
            "the index again with loragraft rag index --replace."
        ) from error


@contextmanager
def _explain_row(what: str) -> Iterator[None]:
    """Turn what a stranger's values lead to into ours.

    Raises:
        InputError: Naming what cannot be read.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{what} cannot be read: {error}. loragraft rag verify tells what is damaged; build "
            "the index again with loragraft rag index --replace."
        ) from None


def _chunk(row: Sequence[Any]) -> Chunk:
    with _explain_row(f"The chunk of row {row[0]}"):
        headings = tuple(json.loads(row[4]))
        texts, numbers = (row[1], row[2], row[3], row[7], *headings), (row[5], row[6], row[8])
        if not all(type(t) is str for t in texts) or not all(type(n) is int for n in numbers):
            raise TypeError("a text or a number in it is none")
        return Chunk(
            chunk_id=row[1], doc_id=row[2], title=row[3], headings=headings,
            start=row[5], stop=row[6], text=row[7], tokens=row[8], sha256=row[9].hex(),
            metadata={**json.loads(row[10]), **json.loads(row[11])},
        )  # fmt: skip


class ChunkStore(Closing):
    """A committed store, which nobody changes; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open a store for reading.

        Raises:
            FileNotFoundError: If it is not there.
            InputError: If it is no store of ours.
        """
        if not path.is_file():
            raise FileNotFoundError(path)
        self.path = path
        uri = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro&immutable=1"
        with explain_database(path):
            self._base = sqlite3.connect(uri, uri=True, check_same_thread=False)
            found = self._base.execute("PRAGMA application_id").fetchone()[0]
            (foreign,) = self._base.execute(_FOREIGN).fetchone()
        if found != APPLICATION_ID or foreign:
            self._base.close()
            raise InputError(f"{path} is no store of an index. Build the index again.")

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        with explain_database(self.path):
            yield from self._base.execute(statement, values)

    def counts(self) -> tuple[int, int]:
        """Return how many documents there are, and how many chunks in rows of theirs from 0 on."""
        documents = next(self._rows("SELECT count(*) FROM documents"))[0]
        chunks = next(self._rows("SELECT count(*) FROM chunks"))[0]
        return int(documents), int(chunks)

    def chunks(self, rows: Sequence[int]) -> list[Chunk]:
        """Return the chunks of some rows, in the order asked for.

        Raises:
            InputError: If a row is not there.
        """
        found: dict[int, Chunk] = {}
        wanted = sorted({int(row) for row in rows})
        for first in range(0, len(wanted), _MANY):
            part = wanted[first : first + _MANY]
            marks = ",".join("?" * len(part))
            for row in self._rows(f"{_CHUNK} WHERE c.row IN ({marks})", part):
                found[row[0]] = _chunk(row)
        if len(found) != len(wanted):
            raise InputError(
                f"{self.path} lacks {len(wanted) - len(found)} of the chunks that were found. "
                "loragraft rag verify tells what is damaged; build the index again."
            )
        return [found[int(row)] for row in rows]

    def chunk(self, chunk_id: str) -> Chunk | None:
        """Return the chunk of an id, or None."""
        row = next(self._rows(f"{_CHUNK} WHERE c.chunk_id = ?", [chunk_id]), None)
        return None if row is None else _chunk(row)

    def iterate(self) -> Iterator[Chunk]:
        """Return all chunks in the order of their rows."""
        return (_chunk(row) for row in self._rows(f"{_CHUNK} ORDER BY c.row"))

    def described(self) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
        """Return row, document's id and title, and metadata of every chunk, by document.

        Neighbours of one document without metadata of their own share one mapping.
        """
        statement = """SELECT c.row, c.own, d.key, d.doc_id, d.title, d.shared
                       FROM chunks c JOIN documents d ON d.key = c.document ORDER BY c.document"""
        last, shared = None, dict[str, Any]()
        for row, own, key, doc_id, title, described in self._rows(statement):
            with _explain_row(f"The metadata of row {row}"):
                if key != last:
                    last, shared = key, {**json.loads(described)}
                metadata = shared if own == "{}" else {**shared, **json.loads(own)}
            yield row, str(doc_id), str(title), metadata

    def hashed(self) -> Iterator[tuple[int, bytes, int]]:
        """Return row, hash of what is embedded, and tokens of every chunk, by row."""
        rows = self._rows("SELECT row, sha256, tokens FROM chunks ORDER BY row")
        return ((row[0], row[1], row[2]) for row in rows)

    def documents(self) -> Iterator[StoredDocument]:
        """Return all documents by their ids."""
        statement = """
            SELECT d.doc_id, d.title, d.metadata, d.sha256, d.characters,
                   (SELECT count(*) FROM chunks c WHERE c.document = d.key)
            FROM documents d ORDER BY d.doc_id"""
        for doc_id, title, metadata, sha256, characters, chunks in self._rows(statement):
            with _explain_row(f"The document {doc_id!r}"):
                values = {**json.loads(metadata)}
            yield StoredDocument(doc_id, title, values, sha256, characters, chunks)

    def hashes(self) -> dict[str, str]:
        """Return every document's hash by its id."""
        return {row[0]: row[1] for row in self._rows("SELECT doc_id, sha256 FROM documents")}

    def rows_of(self, doc_ids: Iterable[str]) -> list[int]:
        """Return the rows of all chunks of some documents, rising."""
        wanted, rows = sorted(set(doc_ids)), list[int]()
        for first in range(0, len(wanted), _MANY):
            part = wanted[first : first + _MANY]
            marks = ",".join("?" * len(part))
            statement = f"""SELECT c.row FROM chunks c JOIN documents d ON d.key = c.document
                            WHERE d.doc_id IN ({marks})"""
            rows.extend(row[0] for row in self._rows(statement, part))
        return sorted(rows)

    def row_of_hash(self, sha256: str) -> int | None:
        """Return the row of some chunk that embeds the same text, or None."""
        row = next(
            self._rows("SELECT row FROM chunks WHERE sha256 = ? LIMIT 1", [bytes.fromhex(sha256)]),
            None,
        )
        return None if row is None else int(row[0])

    def skipped(self) -> list[Skipped]:
        """Return what could not be read when this state was made."""
        return [Skipped(*map(str, row)) for row in self._rows("SELECT source, reason FROM skipped")]

    def check(self) -> list[str]:
        """Return what SQLite itself finds wrong with the file, in its words; empty if nothing."""
        found = [str(row[0]) for row in self._rows("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def one(self, statement: str) -> tuple[Any, ...]:
        """Return the first row of a statement that only reads."""
        row = next(self._rows(statement), None)
        if row is None:
            raise InputError(
                f"{self.path} is empty. Build the index again with loragraft rag index --replace."
            )
        return row

    def close(self) -> None:
        """Close the file; twice does no harm."""
        self._base.close()


def create_store(path: Path) -> sqlite3.Connection:
    """Make an empty store to write into, with a transaction begun."""
    base = _connect(path)
    base.executescript(_SCHEMA)
    base.execute("BEGIN")
    return base


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open the private copy of a store for writing, with a transaction begun."""
    base = _connect(path)
    base.execute("BEGIN")
    return base


def _connect(path: Path) -> sqlite3.Connection:
    # Whoever dies on the way begins again with a fresh copy: nothing is flushed before the end.
    base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    base.execute("PRAGMA journal_mode = MEMORY")
    base.execute("PRAGMA synchronous = OFF")
    base.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return base
