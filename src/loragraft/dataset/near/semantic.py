"""Texts that mean the same as an earlier one, as an embedder sees it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from loragraft.dataset.near.duplicate import Duplicate, Store, table
from loragraft.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loragraft.embedding.protocol import Embedder


class SemanticDuplicates:
    """Finds texts whose vector points where an earlier one's does; the score is their cosine.

    See :class:`Finder`. Every pair is compared, exactly. The vectors of what is kept lie in a file
    of the store; memory holds a block of them. Texts of white space alone are duplicates of none.
    """

    def __init__(
        self, store: Store, name: str, *, embedder: Embedder, threshold: float = 0.9
    ) -> None:
        """Open what a rule remembers.

        Args:
            store: Where vectors and ids live; the caller commits.
            name: Of the rule: each has its own vectors.
            embedder: Makes vectors of length 1.
            threshold: From which cosine on a text is a duplicate.

        Raises:
            InputError: If the threshold is no cosine, or what is remembered came from another
                embedder.
        """
        from loragraft.dataset.near.vectors import check_threshold

        check_threshold(threshold)
        self._embedder, self._threshold = embedder, threshold
        self._store, self._file = store.connection, store.file(f"{table(name, 'vectors')}.f32")
        self._table = table(name, "vectors")
        self._store.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} (row INTEGER PRIMARY KEY, id TEXT NOT NULL)"
        )
        self._check_embedder(table(name, "embedder"))
        self._batch = _Batch((), 0)

    def _check_embedder(self, where: str) -> None:
        identity = json.dumps(dict(self._embedder.identity), sort_keys=True)
        self._store.execute(f"CREATE TABLE IF NOT EXISTS {where} (identity TEXT NOT NULL)")
        found = self._store.execute(f"SELECT identity FROM {where}").fetchone()
        if found is None:
            self._store.execute(f"INSERT INTO {where} VALUES (?)", (identity,))
        elif found[0] != identity:
            raise InputError(
                f"What was kept so far was embedded by another model than {self._embedder.name}. "
                "Use the same embedder, or begin again."
            )

    def begin(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Take a batch: embed it, compare it with all that was kept, and with itself."""
        from loragraft.dataset.near.vectors import blocks, check_vectors, matches

        rows = self._store.execute(f"SELECT count(*) FROM {self._table}").fetchone()[0]
        batch = self._batch = _Batch(ids, rows)
        filled = [number for number, text in enumerate(texts) if text.strip()]
        if not filled:
            return
        given = self._embedder.embed([texts[number] for number in filled])
        width = self._file.size // (4 * rows) if rows else None
        vectors = check_vectors(given, len(filled), self._embedder.name, width=width)
        batch.vectors = dict(zip(filled, vectors, strict=True))
        for first, block in blocks(self._file.path, rows, vectors.shape[1]):
            for match in matches(vectors, block, self._threshold):
                batch.note(filled[match.a], first + match.b, match.score)
        for match in matches(vectors, vectors, self._threshold):
            if match.b < match.a:
                batch.within.setdefault(filled[match.a], []).append((filled[match.b], match.score))

    def find(self, number: int) -> Duplicate | None:
        """Return the kept text that is most like one of the batch; of equals, the earliest."""
        batch = self._batch
        for earlier, score in batch.within.get(number, ()):
            if earlier in batch.kept:
                batch.note(number, batch.kept[earlier], score)
        if number not in batch.best:
            return None
        score, row = batch.best[number]
        if row >= batch.rows:
            return Duplicate(batch.ids[list(batch.kept)[row - batch.rows]], score)
        query = f"SELECT id FROM {self._table} WHERE row = ?"
        return Duplicate(self._store.execute(query, (row,)).fetchone()[0], score)

    def keep(self, number: int) -> None:
        """Remember a text."""
        if number in self._batch.vectors:
            self._batch.kept[number] = self._batch.rows + len(self._batch.kept)

    def end(self) -> None:
        """Write what was kept."""
        batch = self._batch
        self._file.append(b"".join(batch.vectors[number].tobytes() for number in batch.kept))
        rows = [(row, batch.ids[number]) for number, row in batch.kept.items()]
        self._store.executemany(f"INSERT INTO {self._table} VALUES (?, ?)", rows)
        self._batch = _Batch((), 0)


class _Batch:
    """The texts of a batch, and which kept ones they are like."""

    def __init__(self, ids: Sequence[str], rows: int) -> None:
        """Begin with how many were kept before."""
        self.ids, self.rows = ids, rows
        self.vectors: dict[int, NDArray[np.float32]] = {}
        self.kept: dict[int, int] = {}
        self.best: dict[int, tuple[float, int]] = {}
        self.within: dict[int, list[tuple[int, float]]] = {}

    def note(self, number: int, row: int, score: float) -> None:
        """Remember the kept row that is most like a text; of equals, the earliest."""
        if score > self.best.get(number, (0.0, 0))[0]:
            self.best[number] = (score, row)
