"""An index as its readers see it: one committed state, whatever writers do meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.closing import Closing
from loragraft.errors import InputError
from loragraft.rag.index.approximate import Approximate, open_approximate
from loragraft.rag.index.chunk_store import ChunkStore, StoredDocument
from loragraft.rag.index.dense import ExactVectors, Floats, Rows, check_queries
from loragraft.rag.index.layout import CHUNKS, SEARCH, VECTORS, IndexInfo, read_info
from loragraft.rag.records import Chunk, Skipped

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.05
"""A writer that commits between our reading of index.json and of its files deletes the latter;
then the new index.json is there already."""


class Index(Closing):
    """A committed state, read only; a context manager. Updates do not disturb it.

    Attributes:
        path: The index's folder.
        info: What it says about itself.
    """

    def __init__(
        self,
        path: Path,
        info: IndexInfo,
        store: ChunkStore,
        exact: ExactVectors,
        approximate: Approximate | None,
    ) -> None:
        """Put the parts together; :func:`open_index` is the way."""
        self.path, self.info = path, info
        self._store, self._exact, self._approximate = store, exact, approximate

    def __len__(self) -> int:
        """Return how many chunks there are."""
        return self.info.chunks

    def search_dense(
        self, vectors: NDArray[Any], k: int, rows: Rows | None = None, *, exact: bool = False
    ) -> tuple[Floats, Rows]:
        """Find the chunks nearest to questions, by cosine similarity.

        Args:
            vectors: Of the questions, unit length, shape [questions, dimensions].
            k: How many chunks for each.
            rows: Only among these rows, where given; then search is exact.
            exact: Whether to search exactly even where an approximate index is there.

        Returns:
            Scores, falling, and rows, both of shape [questions, k], or as many columns as the
            index has chunks; where fewer are found, rows are -1 and scores minus infinity.

        Raises:
            InputError: If the vectors have other dimensions or are not finite, or k is below 1.
        """
        queries = check_queries(vectors, self.info.dimensions, k)
        k = min(k, len(self))
        if rows is not None:
            return self._exact.search(queries, k, _checked_rows(rows, len(self)))
        if self._approximate is None or exact:
            return self._exact.search(queries, k)
        return self._approximate.search(queries, k)

    def chunks(self, rows: Sequence[int] | Rows) -> list[Chunk]:
        """Return the chunks of some rows, in the order asked for.

        Raises:
            InputError: If one is not there.
        """
        return self._store.chunks([int(row) for row in rows])

    def chunk(self, chunk_id: str) -> Chunk | None:
        """Return the chunk of an id, or None."""
        return self._store.chunk(chunk_id)

    def iterate(self) -> Iterator[Chunk]:
        """Return all chunks by row, from 0 on without a gap."""
        return self._store.iterate()

    def documents(self) -> Iterator[StoredDocument]:
        """Return all documents by id."""
        return self._store.documents()

    def rows_of(self, doc_ids: Iterable[str]) -> Rows:
        """Return the rows of all chunks of some documents, rising."""
        return np.asarray(self._store.rows_of(doc_ids), np.int64)

    def vectors(self, rows: Sequence[int] | Rows) -> Floats:
        """Return the vectors of some rows, shape [rows, dimensions]."""
        found: Floats = self._exact.array[_checked_rows(np.asarray(rows, np.int64), len(self))]
        return found

    def skipped(self) -> list[Skipped]:
        """Return what could not be read when this state was made."""
        return self._store.skipped()

    def part(self, name: str) -> Path | None:
        """Return the folder of something else that belongs to the index, or None."""
        files = self.info.parts.get(name)
        return self.path / files[0].name.partition("/")[0] if files else None

    @property
    def store(self) -> ChunkStore:
        """Its chunks and documents."""
        return self._store

    @property
    def exact(self) -> ExactVectors:
        """Its vectors."""
        return self._exact

    @property
    def approximate(self) -> Approximate | None:
        """What searches faster than exact search, where the index is large enough."""
        return self._approximate

    def close(self) -> None:
        """Close the files; twice does no harm."""
        self._store.close()


def _checked_rows(rows: Rows, count: int) -> Rows:
    rows = np.asarray(rows, np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= count):
        raise InputError(f"Rows from {rows.min()} to {rows.max()}: the index has {count} chunks.")
    return rows


def open_index(path: Path, *, approximate: bool = True) -> Index:
    """Open the committed state of an index for reading.

    Args:
        path: Its folder.
        approximate: Whether to search by its approximate index, where there is one.

    Raises:
        InputError: If there is none, it is unfinished, damaged or of another format.
    """
    path = Path(path)
    for attempt in range(_ATTEMPTS):
        info = read_info(path)
        try:
            return _open(path, info, approximate)
        except FileNotFoundError as error:
            missing = error
        if attempt < _ATTEMPTS - 1:
            time.sleep(_PAUSE_SECONDS)
    raise missing_file(path, missing)


def missing_file(path: Path, error: FileNotFoundError) -> InputError:
    """Return in words that a file of an index is not there."""
    name = Path(str(error.filename or error)).name
    return InputError(
        f"The index {path} lacks the file {name}, which its index.json names. Build it again with "
        "loragraft rag index --replace."
    )


def _open(path: Path, info: IndexInfo, approximate: bool) -> Index:
    for file in info.all_files:
        size = (path / file.name).stat().st_size
        if size != file.bytes:
            raise InputError(
                f"{path / file.name} has {size} bytes, and {file.bytes} were written. The index "
                "is damaged: build it again with loragraft rag index --replace."
            )
    store = ChunkStore(path / info.files[CHUNKS].name)
    try:
        exact = ExactVectors(path / info.files[VECTORS].name, info.dimensions)
        if len(exact) != info.chunks:
            raise InputError(
                f"The index {path} holds {len(exact)} vectors for {info.chunks} chunks. It is "
                "damaged: build it again with loragraft rag index --replace."
            )
        search = None
        if approximate and SEARCH in info.files:
            search = open_approximate(path / info.files[SEARCH].name, info.search, exact)
    except BaseException:
        store.close()
        raise
    return Index(path, info, store, exact, search)
