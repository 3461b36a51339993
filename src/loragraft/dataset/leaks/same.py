"""The same record or the same question in two splits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loragraft.dataset.leaks.book import Book, Found
from loragraft.dataset.leaks.columns import Columns
from loragraft.dataset.leaks.facts import agree
from loragraft.dataset.leaks.report import EXACT, NORMALISED, SAME_ID


def find_same(columns: Columns, book: Book) -> None:
    """Find ids and questions of one split in another.

    Of several records with one question, the one with the first id stands for all.
    """
    for earlier, later in columns.pairs():
        _find_ids(columns, book, earlier, later)
        for kind, keys in ((EXACT, columns.exact), (NORMALISED, columns.plain)):
            _find_keys(columns, book, earlier, later, kind, keys)
        _find_keys(columns, book, earlier, later, NORMALISED, columns.turned)


def _find_ids(columns: Columns, book: Book, earlier: int, later: int) -> None:
    known = {columns.ids[number]: number for number in columns.of(earlier)}
    for number in columns.of(later):
        other = known.get(columns.ids[number])
        if other is not None:
            why = "one record is in both splits, or two records have one id"
            book.add(Found(SAME_ID, "leak", number, other, 1.0, why))


def _find_keys(
    columns: Columns, book: Book, earlier: int, later: int, kind: str, keys: Sequence[int]
) -> None:
    first = first_by_key(columns, columns.of(earlier), keys)
    for number in columns.of(later):
        other = first.get(keys[number])
        if other is not None and not book.is_marked(number, earlier):
            book.mark(number, earlier)
            book.add(Found(kind, "leak", number, other, 1.0, _why(columns, number, other, keys)))


def first_by_key(columns: Columns, numbers: Iterable[int], keys: Sequence[int]) -> dict[int, int]:
    """Return the record with the first id for each key; 0 is no key."""
    first: dict[int, int] = {}
    for number in numbers:
        key = keys[number]
        if key and (key not in first or columns.ids[number] < columns.ids[first[key]]):
            first[key] = number
    return first


def _why(columns: Columns, number: int, other: int, keys: Sequence[int]) -> str:
    if keys is columns.turned and columns.plain[number] != columns.plain[other]:
        return "the same pair the other way round"
    if not columns.asks[number] or not columns.asks[other]:
        return "the same question"
    same = agree(columns.telling[number], columns.telling[other])
    if not same:
        same = bool(set(columns.answers[number]) & set(columns.answers[other]))
    return (
        "the same answer" if same else "with another answer: one is wrong, or both ask too little"
    )
