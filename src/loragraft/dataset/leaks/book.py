"""Findings as they come, and the report that is made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from loragraft.dataset.leaks.columns import Columns
from loragraft.dataset.leaks.report import KINDS, SEVERITIES, Count, Leak, Place, Severity

MOST_LISTED = 1000
"""Findings of one kind and severity that are listed; of more the number is told."""
LONGEST = 300
"""Characters of a text that a report shows."""


class Found(NamedTuple):
    """A finding, with records as numbers.

    Attributes:
        kind: What it is.
        severity: How bad.
        first: The record that is no fair test any more.
        second: The record that gives it away, or another place.
        score: How alike they are.
        why: In words.
    """

    kind: str
    severity: Severity
    first: int
    second: int | Place
    score: float
    why: str


class Book:
    """Collects findings."""

    def __init__(self, columns: Columns) -> None:
        """Begin with none."""
        self._columns = columns
        self._found: list[Found] = []
        self._same: set[tuple[int, int]] = set()

    def add(self, found: Found) -> None:
        """Take a finding."""
        self._found.append(found)

    def mark(self, number: int, split: int) -> None:
        """Remember that a record's question is in another split, as a leak."""
        self._same.add((number, split))

    def is_marked(self, number: int, split: int) -> bool:
        """Say whether a record's question was found in another split already."""
        return (number, split) in self._same

    def counts(self) -> tuple[Count, ...]:
        """Count findings and records, in the order of the report."""
        rows: dict[tuple[str, Severity], Counter[str]] = {}
        seen: set[tuple[str, str, int]] = set()
        totals = Counter((found.kind, found.severity) for found in self._found)
        for found in self._found:
            mark = (found.kind, found.severity, found.first)
            if mark not in seen:
                seen.add(mark)
                split = self._columns.splits[self._columns.split_of(found.first)]
                rows.setdefault((found.kind, found.severity), Counter())[split] += 1
        return tuple(
            Count(kind, severity, totals[kind, severity], dict(sorted(splits.items())))
            for (kind, severity), splits in sorted(rows.items(), key=lambda row: _rank(*row[0]))
        )

    def leaks(self) -> Iterator[Leak]:
        """Yield findings with their texts, worst first, so many of each kind."""
        groups: dict[tuple[str, Severity], list[Found]] = {}
        for found in self._found:
            groups.setdefault((found.kind, found.severity), []).append(found)
        for key in sorted(groups, key=lambda key: _rank(*key)):
            for found in sorted(groups[key], key=self._order)[:MOST_LISTED]:
                yield Leak(
                    found.kind,
                    found.severity,
                    self._place(found.first),
                    self._place(found.second),
                    round(found.score, 4),
                    found.why,
                )

    def _order(self, found: Found) -> tuple[object, ...]:
        columns, second = self._columns, found.second
        split, name = columns.key(found.first)
        other = columns.key(second) if isinstance(second, int) else (len(columns.splits), second.id)
        return (-split, -round(found.score, 4), name, *other)

    def _place(self, place: int | Place) -> Place:
        if isinstance(place, Place):
            return Place(place.where, place.id, cut(place.text))
        columns = self._columns
        where = columns.splits[columns.split_of(place)]
        return Place(where, columns.ids[place], cut(columns.question(place)))


def _rank(kind: str, severity: Severity) -> tuple[int, int]:
    return list(SEVERITIES).index(severity), list(KINDS).index(kind)


def cut(text: str) -> str:
    """Return a text, or the beginning of a long one."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
