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
            "(row INTEGER PRIMARY KEY, id TEXT NOT NULL, text TEXT NOT NULL)"
        )
        self._store.execute(
            f"CREATE TABLE IF NOT EXISTS {self._keys} "
            "(key INTEGER, row INTEGER, PRIMARY KEY (key, row)) WITHOUT ROWID"
        )
        self._batch = _Batch((), [], [], {}, 0)

    def begin(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Take a batch: make its keys, and read what was kept under any of them."""
        from loragraft.dataset.near.bands import band_keys
        from loragraft.dataset.near.shingles import shingles

        plain = [normalise(text) for text in texts]
        pieces = shingles(plain)
        keys = band_keys(pieces, self._shape).tolist()
        own = [pieces.of(number) for number in range(len(plain))]
        for number, text in enumerate(plain):
            keys[number] = keys[number] if text else []
        rows = self._store.execute(f"SELECT max(row) FROM {self._texts}").fetchone()[0]
        self._batch = _Batch(ids, plain, own, self._under(keys), 0 if rows is None else rows + 1)
        self._batch.keys = keys
        self._load({row for key in keys for row, _ in self._batch.candidates(key)})

    def _under(self, keys: Sequence[Sequence[int]]) -> dict[int, list[int]]:
        """Return the rows kept under each key, the earliest first."""
        rows: dict[int, list[int]] = {key: [] for of_text in keys for key in of_text}
        for part in _parts(sorted(rows)):
            marks = ",".join("?" * len(part))
            query = f"SELECT key, row FROM {self._keys} WHERE key IN ({marks}) ORDER BY key, row"
            for key, row in self._store.execute(query, part):
                rows[key].append(row)
        return rows

    def _load(self, rows: set[int]) -> None:
        """Read the texts that those of the batch are compared with."""
        from loragraft.dataset.near.shingles import shingles

        found: list[tuple[int, str, str]] = []
        for part in _parts(sorted(rows)):
            marks = ",".join("?" * len(part))
            query = f"SELECT row, id, text FROM {self._texts} WHERE row IN ({marks})"
            found += self._store.execute(query, part)
        pieces = shingles([text for _, _, text in found])
        for number, (row, id_, _) in enumerate(found):
            self._batch.known[row] = (id_, pieces.of(number))

    def find(self, number: int) -> Duplicate | None:
        """Return the kept text that is most like one of the batch; of equals, the earliest."""
        from loragraft.dataset.near.shingles import jaccard

        batch, best = self._batch, (0.0, 0)
        for row, _ in batch.candidates(batch.keys[number]):
            score = jaccard(batch.own[number], batch.known[row][1])
            best = max(best, (score, -row))
        if best[0] < self._threshold:
            return None
        return Duplicate(batch.known[-best[1]][0], best[0])

    def keep(self, number: int) -> None:
        """Remember a text."""
        self._batch.keep(number)

    def end(self) -> None:
        """Write what was kept."""
        batch = self._batch
        self._store.executemany(f"INSERT INTO {self._texts} VALUES (?, ?, ?)", batch.new_texts)
        self._store.executemany(f"INSERT INTO {self._keys} VALUES (?, ?)", sorted(batch.new_keys))
        self._batch = _Batch((), [], [], {}, 0)


class _Batch:
    """The texts of a batch, and what was kept under their keys."""

    def __init__(
        self,
        ids: Sequence[str],
        texts: list[str],
        own: list[NDArray[np.uint64]],
        under: dict[int, list[int]],
        next_row: int,
    ) -> None:
        """Begin with the row that the next kept text gets."""
        self.ids, self.texts, self.own, self.under = ids, texts, own, under
        self.keys: list[list[int]] = []
        self.known: dict[int, tuple[str, NDArray[np.uint64]]] = {}
        self.new_texts: list[tuple[int, str, str]] = []
        self.new_keys: list[tuple[int, int]] = []
        self._next = next_row

    def candidates(self, keys: Sequence[int]) -> list[tuple[int, int]]:
        """Return rows with how many keys they share, those that share the most first."""
        shared = Counter(row for key in keys for row in self.under[key])
        return sorted(shared.items(), key=lambda item: (-item[1], item[0]))[:MOST_COMPARED]

    def keep(self, number: int) -> None:
        """Remember a text, under as many of its keys as have room."""
        if not self.keys[number]:
            return
        row, self._next = self._next, self._next + 1
        self.known[row] = (self.ids[number], self.own[number])
        self.new_texts.append((row, self.ids[number], self.texts[number]))
        for key in self.keys[number]:
            if len(self.under[key]) < MOST_OF_A_KEY:
                self.under[key].append(row)
                self.new_keys.append((key, row))


def _parts(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(values), _IN_A_QUERY):
        yield values[first : first + _IN_A_QUERY]
