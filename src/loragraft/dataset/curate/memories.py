"""The rules that compare rows with those that were kept before: one class or line each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Protocol

from loragraft.dataset.curate import specs
from loragraft.dataset.curate.fields import read_key, read_text
from loragraft.dataset.curate.judges import lacking
from loragraft.dataset.curate.rule import Drop, Row
from loragraft.dataset.curate.state import State
from loragraft.dataset.near.duplicate import Finder, table
from loragraft.embedding.protocol import Embedder

_AT_ONCE = 500
"""Values in one question to SQLite, which older versions limit to 999."""

Applies = Callable[[Row], bool]


class OpenEmbedder(Protocol):
    """Opens an embedder once, however many rules ask for it."""

    def __call__(self, name: str) -> Embedder:
        """Return the embedder of a name."""


class SameId:
    """Two records of one id: the first stays. It is in every run, listed or not."""

    TABLE = "kept_id"

    def open(self, state: State) -> None:
        """Make the table."""
        self._base = state.connection
        self._base.execute(
            f"CREATE TABLE IF NOT EXISTS {self.TABLE} (id TEXT PRIMARY KEY, line INTEGER NOT NULL)"
            " WITHOUT ROWID"
        )

    def begin(self, rows: Sequence[Row]) -> None:
        """Look up which ids there are."""
        self._rows = rows
        self._lines = look_up(self._base, f"{self.TABLE}(id, line)", [row.id for row in rows])
        self._new: list[tuple[str, int]] = []

    def check(self, number: int) -> Drop | None:
        """Say on which line the id stood before."""
        line = self._lines.get(self._rows[number].id)
        return None if line is None else Drop(f"stands on line {line} already")

    def keep(self, number: int) -> None:
        """Remember an id."""
        row = self._rows[number]
        self._lines[row.id] = row.line
        self._new.append((row.id, row.line))

    def end(self) -> None:
        """Write the ids."""
        self._base.executemany(f"INSERT INTO {self.TABLE} VALUES (?, ?)", self._new)
        self._rows, self._lines, self._new = (), {}, []


def look_up(base: sqlite3.Connection, table: str, keys: Iterable[str]) -> dict[str, int]:
    """Return the numbers of those keys that are in a table.

    Args:
        base: The database.
        table: Its name, and in parentheses those of two columns: key and number.
        keys: Any; twice does no harm.
    """
    name, _, columns = table.rstrip(")").partition("(")
    wanted = iter(dict.fromkeys(keys))
    found: dict[str, int] = {}
    while part := list(islice(wanted, _AT_ONCE)):
        places = ",".join("?" * len(part))
        key = columns.partition(",")[0]
        found.update(base.execute(f"SELECT {columns} FROM {name} WHERE {key} IN ({places})", part))
    return found


class AuthorCap:
    """At most so many kept rows of one author."""

    def __init__(self, spec: specs.PerAuthor, applies: Applies) -> None:
        """Take the rule."""
        self._spec, self._applies = spec, applies
        self._table = table(spec.title, "authors")

    def open(self, state: State) -> None:
        """Make the table."""
        self._base = state.connection
        self._base.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} (author TEXT PRIMARY KEY, "
            "kept INTEGER NOT NULL) WITHOUT ROWID"
        )

    def begin(self, rows: Sequence[Row]) -> None:
        """Look up how many rows of each author there are."""
        self._rows = rows
        self._authors = [self._author(row) for row in rows]
        known = {author for author in self._authors if author is not None}
        found = look_up(self._base, f"{self._table}(author, kept)", sorted(known))
        self._kept = {**dict.fromkeys(known, 0), **found}

    def _author(self, row: Row) -> str | None:
        keys = [read_key(row.values, path) for path in self._spec.field]
        return None if None in keys else "\x1f".join(map(str, keys))

    def check(self, number: int) -> Drop | None:
        """Say that the author has enough."""
        row, author = self._rows[number], self._authors[number]
        if not self._applies(row):
            return None
        if author is None:
            path = next(p for p in self._spec.field if read_key(row.values, p) is None)
            return lacking(row.values, path, "name or number")
        kept = self._kept[author]
        return Drop(f"{kept} kept of this author") if kept >= self._spec.max else None

    def keep(self, number: int) -> None:
        """Count a row."""
        author = self._authors[number]
        if author is not None and self._applies(self._rows[number]):
            self._kept[author] += 1

    def end(self) -> None:
        """Write the counts."""
        query = f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?)"
        self._base.executemany(query, [item for item in self._kept.items() if item[1]])
        self._rows, self._authors, self._kept = (), [], {}


class Duplicates:
    """Texts that a kept row says already, by one of the finders in ``dataset.near``."""

    def __init__(
        self, fields: Sequence[str], make: Callable[[State], Finder], applies: Applies
    ) -> None:
        """Take the fields whose texts are compared, and what opens the finder."""
        self._fields, self._make, self._applies = fields, make, applies

    def open(self, state: State) -> None:
        """Open the finder."""
        self._finder = self._make(state)

    def begin(self, rows: Sequence[Row]) -> None:
        """Hand the texts of the rows that are judged to the finder."""
        self._missing: dict[int, Drop] = {}
        texts: dict[int, str] = {}
        for number, row in enumerate(rows):
            if self._applies(row):
                self._take(number, row, texts)
        self._places = {number: place for place, number in enumerate(texts)}
        self._finder.begin([rows[number].id for number in texts], list(texts.values()))

    def _take(self, number: int, row: Row, texts: dict[int, str]) -> None:
        found = [read_text(row.values, path) for path in self._fields]
        if None in found:
            self._missing[number] = lacking(row.values, self._fields[found.index(None)], "text")
        else:
            texts[number] = "\n".join(map(str, found))

    def check(self, number: int) -> Drop | None:
        """Say which kept row is the same, and how much."""
        if number not in self._places:
            return self._missing.get(number)
        found = self._finder.find(self._places[number])
        if found is None:
            return None
        return Drop(f"same as {found.of}" if found.score == 1 else _alike(found.score, found.of))

    def keep(self, number: int) -> None:
        """Let the finder remember a text."""
        if number in self._places:
            self._finder.keep(self._places[number])

    def end(self) -> None:
        """Let the finder write."""
        self._finder.end()
        self._places, self._missing = {}, {}


def _alike(score: float, of: str) -> str:
    """Spell a score, never rounded up to one: that would say that texts are the same."""
    return f"{min(score, 0.999):.3f} like {of}"


def open_cap(spec: specs.PerAuthor, applies: Applies, embedders: OpenEmbedder) -> AuthorCap:
    """Return the memory of a cap."""
    return AuthorCap(spec, applies)


def open_exact(
    spec: specs.ExactDuplicates, applies: Applies, embedders: OpenEmbedder
) -> Duplicates:
    """Return the memory of texts that are the same."""

    def make(state: State) -> Finder:
        from loragraft.dataset.near.exact import ExactKeys

        return ExactKeys(state, spec.title)

    return Duplicates(spec.field, make, applies)


def open_near(spec: specs.NearDuplicates, applies: Applies, embedders: OpenEmbedder) -> Duplicates:
    """Return the memory of texts that are nearly the same."""

    def make(state: State) -> Finder:
        from loragraft.dataset.near.minhash import MinHashKeys

        return MinHashKeys(state, spec.title, threshold=spec.threshold)

    return Duplicates(spec.field, make, applies)


def open_semantic(
    spec: specs.SemanticDuplicates, applies: Applies, embedders: OpenEmbedder
) -> Duplicates:
    """Return the memory of texts that mean the same."""

    def make(state: State) -> Finder:
        from loragraft.dataset.near.semantic import SemanticDuplicates

        embedder = embedders(spec.embedder)
        return SemanticDuplicates(state, spec.title, embedder=embedder, threshold=spec.threshold)

    return Duplicates(spec.field, make, applies)
