"""Texts that share most of their characters with an earlier one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from loragraft.dataset.near.duplicate import Duplicate, Store, table
from loragraft.dataset.near.normalise import normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loragraft.dataset.near.shingles import Shingles

MOST_OF_A_KEY = 100
"""Texts that are found by one key. More share it where texts are made from one pattern; a duplicate
shares several keys, so it is still found by another."""

MOST_COMPARED = 64
"""Kept texts that one is compared with: those that share the most keys."""

_IN_A_QUERY = 500
"""Values in one query; SQLite takes 999 everywhere."""


class MinHashKeys:
    """Finds texts like earlier ones; the score is the Jaccard similarity of five-character pieces.

    See :class:`Finder`. Whatever it names is as similar as it says, by comparing the pieces
    themselves; of pairs right at the threshold it overlooks about 1 in 200. A text of nothing is a
    duplicate of none.
    """

    def __init__(self, store: Store, name: str, *, threshold: float = 0.8) -> None:
        """Open what a rule remembers.

        Args:
            store: Where texts and keys live; the caller commits.
            name: Of the rule: each has its own texts.
            threshold: From which Jaccard similarity on a text is a duplicate.

        Raises:
            InputError: If the threshold is none that texts can be compared by.
        """
        from loragraft.dataset.near.bands import bands_for

        self._shape, self._threshold = bands_for(threshold), threshold
        self._store = store.connection
        self._texts, self._keys = table(name, "texts"), table(name, "keys")
        self._store.execute(
            f"CREATE TABLE IF NOT EXISTS {self._texts} "
            "(row INTEGER PRIMARY KEY, id TEXT NOT NULL, hashes BLOB NOT NULL)"
        )
        self._store.execute(
            f"CREATE TABLE IF NOT EXISTS {self._keys} "
            "(key INTEGER, row INTEGER, PRIMARY KEY (key, row)) WITHOUT ROWID"
        )
        self._leave()

    def begin(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Take a batch: make its keys, and compare it with what was kept under any of them."""
        from loragraft.dataset.near.bands import band_keys
        from loragraft.dataset.near.shingles import shingles

        plain = [normalise(text) for text in texts]
        pieces = shingles(plain)
        keys = band_keys(pieces, self._shape).tolist()
        keys = [of_text if text else [] for of_text, text in zip(keys, plain, strict=True)]
        rows = self._store.execute(f"SELECT max(row) FROM {self._texts}").fetchone()[0]
        next_row = 0 if rows is None else rows + 1
        self._batch = _Batch(ids, pieces, keys, self._under(keys), next_row)
        self._compare()

    def _under(self, keys: Sequence[Sequence[int]]) -> dict[int, list[int]]:
        """Return the rows kept under each key, the earliest first."""
        rows: dict[int, list[int]] = {key: [] for of_text in keys for key in of_text}
        for part in _parts(sorted(rows)):
            marks = ",".join("?" * len(part))
            query = f"SELECT key, row FROM {self._keys} WHERE key IN ({marks}) ORDER BY key, row"
            for key, row in self._store.execute(query, part):
                rows[key].append(row)
        return rows

    def _compare(self) -> None:
        """Compare the batch with what was kept before it."""
        import numpy as np

        from loragraft.dataset.near.shingles import gathered, jaccard

        batch = self._batch
        near = [batch.candidates(number) for number in range(len(batch.keys))]
        places: dict[int, int] = {}
        blobs: list[NDArray[np.uint32]] = []
        for part in _parts(sorted({row for rows in near for row in rows})):
            marks = ",".join("?" * len(part))
            query = f"SELECT row, id, hashes FROM {self._texts} WHERE row IN ({marks})"
            for row, id_, blob in self._store.execute(query, part):
                places[row], batch.names[row] = len(blobs), id_
                blobs.append(np.frombuffer(blob, "<u4").astype(np.uint32, copy=False))
        pairs = [(number, places[row]) for number, rows in enumerate(near) for row in rows]
        scores = iter(jaccard(batch.pieces, gathered(blobs), pairs))
        for number, rows in enumerate(near):
            batch.scores[number] = {row: next(scores) for row in rows}

    def find(self, number: int) -> Duplicate | None:
        """Return the kept text that is most like one of the batch; of equals, the earliest."""
        batch, best = self._batch, (0.0, 0)
        for row, score in batch.scored(number).items():
            best = max(best, (score, -row))
        return Duplicate(batch.names[-best[1]], best[0]) if best[0] >= self._threshold else None

    def keep(self, number: int) -> None:
        """Remember a text."""
        self._batch.keep(number)

    def end(self) -> None:
        """Write what was kept."""
        batch = self._batch
        rows = [
            (row, batch.names[row], batch.pieces.of(number).astype("<u4").tobytes())
            for row, number in batch.kept.items()
        ]
        self._store.executemany(f"INSERT INTO {self._texts} VALUES (?, ?, ?)", rows)
        self._store.executemany(f"INSERT INTO {self._keys} VALUES (?, ?)", sorted(batch.new_keys))
        self._leave()

    def _leave(self) -> None:
        self._batch = _Batch((), None, [], {}, 0)


class _Batch:
    """The texts of a batch, and what was kept under their keys."""

    def __init__(
        self,
        ids: Sequence[str],
        pieces: Shingles | None,
        keys: list[list[int]],
        under: dict[int, list[int]],
        next_row: int,
    ) -> None:
        """Begin with the row that the next kept text gets."""
        self.ids, self.keys, self._under, self._next = ids, keys, under, next_row
        self._pieces = pieces
        self.names: dict[int, str] = {}
        self.kept: dict[int, int] = {}
        self.new_keys: list[tuple[int, int]] = []
        self.scores: dict[int, dict[int, float]] = {}
        self._fresh: set[int] = set()

    @property
    def pieces(self) -> Shingles:
        """The texts' shingles."""
        assert self._pieces is not None
        return self._pieces

    def candidates(self, number: int) -> list[int]:
        """Return the rows that share the most keys with a text, of equals the earliest."""
        shared = Counter(row for key in self.keys[number] for row in self._under[key])
        order = sorted(shared.items(), key=lambda item: (-item[1], item[0]))
        return [row for row, _ in order[:MOST_COMPARED]]

    def scored(self, number: int) -> dict[int, float]:
        """Return the scores of a text's candidates, those of the batch among them."""
        from loragraft.dataset.near.shingles import gathered, jaccard

        known = self.scores[number]
        if self._fresh.isdisjoint(self.keys[number]):
            return known
        rows = self.candidates(number)
        new = [row for row in rows if row not in known]
        own = gathered([self.pieces.of(number)])
        others = gathered([self.pieces.of(self.kept[row]) for row in new])
        scores = jaccard(own, others, [(0, place) for place in range(len(new))])
        known.update(zip(new, scores, strict=True))
        return {row: known[row] for row in rows}

    def keep(self, number: int) -> None:
        """Remember a text, under as many of its keys as have room."""
        if not self.keys[number]:
            return
        row, self._next = self._next, self._next + 1
        self.kept[row], self.names[row] = number, self.ids[number]
        for key in self.keys[number]:
            if len(self._under[key]) < MOST_OF_A_KEY:
                self._under[key].append(row)
                self._fresh.add(key)
                self.new_keys.append((key, row))


def _parts(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(values), _IN_A_QUERY):
        yield values[first : first + _IN_A_QUERY]
