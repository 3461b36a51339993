"""Texts that are the same but for case, punctuation, white space, Unicode's spellings and URLs."""

from __future__ import annotations

from collections.abc import Sequence

from loragraft.dataset.near.duplicate import Duplicate, Store, table
from loragraft.dataset.near.normalise import hashed, normalise


class ExactKeys:
    """Finds texts whose normalised form was there before; see :class:`Finder`.

    A text of nothing is a duplicate of none.
    """

    def __init__(self, store: Store, name: str) -> None:
        """Open what a rule remembers.

        Args:
            store: Where keys live; the caller commits.
            name: Of the rule: each has its own keys.
        """
        self._store, self._table = store.connection, table(name, "exact")
        self._ids: Sequence[str] = ()
        self._keys: list[bytes | None] = []
        self._store.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} "
            "(key BLOB PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID"
        )

    def begin(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Take a batch."""
        plain = [normalise(text) for text in texts]
        self._ids, self._keys = ids, [hashed(text) if text else None for text in plain]

    def find(self, number: int) -> Duplicate | None:
        """Return the first text of the same key."""
        key = self._keys[number]
        query = f"SELECT id FROM {self._table} WHERE key = ?"
        found = self._store.execute(query, (key,)).fetchone() if key is not None else None
        return Duplicate(found[0], 1.0) if found is not None else None

    def keep(self, number: int) -> None:
        """Remember a text; of several with the same key, the first."""
        row = (self._keys[number], self._ids[number])
        if row[0] is not None:
            self._store.execute(f"INSERT OR IGNORE INTO {self._table} VALUES (?, ?)", row)

    def end(self) -> None:
        """Leave the batch; everything is in the store."""
        self._ids, self._keys = (), []
