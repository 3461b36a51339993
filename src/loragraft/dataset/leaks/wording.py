"""Questions in nearly the same words: an exact join over rare words, not every pair."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence

from loragraft.artifact.progress import Progress
from loragraft.dataset.leaks.book import Book, Found
from loragraft.dataset.leaks.columns import MOST_WORDS, Columns, Frequencies
from loragraft.dataset.leaks.facts import agree, apart
from loragraft.dataset.leaks.report import NEAR
from loragraft.dataset.leaks.same import first_by_key
from loragraft.dataset.leaks.words import drawn_by

_ROUNDING = 1e-9


def find_wording(columns: Columns, book: Book, near: float, progress: Progress) -> None:
    """Find questions whose words have a cosine of at least ``near``.

    Two such questions must share one of their rarest words, so many of them that what is left
    could not reach the cosine (Chaudhuri's prefix filter): only those are compared.
    """
    frequencies = columns.frequencies()
    for earlier, later in columns.pairs():
        index = Index(columns, frequencies, near, earlier)
        numbers = columns.of(later)
        progress.begin(
            f"Comparing words, {columns.splits[later]} with {columns.splits[earlier]}",
            len(numbers),
            "questions",
        )
        for number in numbers:
            progress.advance(1)
            if not book.is_marked(number, earlier):
                pairs = [(score, other) for other, score in index.alike(number)]
                judge(columns, book, number, earlier, pairs, "by words")
        progress.end()


def judge(
    columns: Columns,
    book: Book,
    number: int,
    split: int,
    pairs: Sequence[tuple[float, int]],
    how: str,
) -> None:
    """Take the closest question that asks for the same; else note the closest that does not."""
    closest: tuple[float, int, str] | None = None
    for score, other in sorted(pairs, key=lambda pair: (-pair[0], columns.ids[pair[1]])):
        why = asks_for_another(columns, number, other)
        if why is None:
            book.mark(number, split)
            why = f"alike {how}{_about_answers(columns, number, other)}"
            book.add(Found(NEAR, "leak", number, other, score, why))
            return
        closest = closest or (score, other, why)
    if closest is not None:
        score, other, why = closest
        book.add(Found(NEAR, "note", number, other, score, f"alike {how}, but {why}"))


def asks_for_another(columns: Columns, number: int, other: int) -> str | None:
    """Say why two questions that are alike ask for different facts; None where they do not.

    Only of records with one true answer: whoever has learned "What melts at 412 K?" knows nothing
    of what melts at 530 K. Of a reply or a score the text itself is what is learned.
    """
    if not columns.asks[number] or not columns.asks[other]:
        return None
    same = agree(columns.telling[number], columns.telling[other])
    # What both answer alike is one fact, however it is called: "Skerry isle", "Skerry Island".
    named = columns.numbers if same else columns.names
    if apart(named[number], named[other]):
        return "each names something else"
    return "their answers differ" if same is False else None


def _about_answers(columns: Columns, number: int, other: int) -> str:
    both = columns.asks[number] and columns.asks[other]
    same = both and agree(columns.telling[number], columns.telling[other])
    return ", with the same answer" if same else ""


class Index:
    """The questions of a split by their rarest words."""

    def __init__(self, columns: Columns, frequencies: Frequencies, near: float, split: int) -> None:
        """Look at every question once; of equal ones at the first."""
        self._columns, self._frequencies, self._near = columns, frequencies, near
        self._numbers: dict[int, array[int]] = {}
        for number in first_by_key(columns, columns.of(split), columns.whole).values():
            for word in self._rarest(number):
                self._numbers.setdefault(word, array("Q")).append(number)

    def alike(self, number: int) -> Iterator[tuple[int, float]]:
        """Yield questions that are alike, with their cosine."""
        columns = self._columns
        words = frozenset(columns.words(number))
        size = columns.lengths[number]
        seen: set[int] = set()
        for word in self._rarest(number):
            for other in self._numbers.get(word, ()):
                if other in seen:
                    continue
                seen.add(other)
                theirs = columns.lengths[other]
                if min(size, theirs) < self._near**2 * max(size, theirs) - _ROUNDING:
                    continue
                score = _cosine(words, size, columns.words(other), theirs)
                if score >= self._near - _ROUNDING:
                    yield other, min(score, 1.0)

    def _rarest(self, number: int) -> list[int]:
        words = self._columns.words(number)
        counts = self._frequencies.of(words)
        order = [word for _, word in sorted(zip(counts, words, strict=True))]
        needed = math.ceil(self._near**2 * len(order) - _ROUNDING)
        return order[: len(order) - needed + 1] if order else []


def _cosine(words: frozenset[int], size: int, others: Sequence[int], theirs: int) -> float:
    """Return the cosine of two sets of words; an estimate where either is long."""
    if size <= MOST_WORDS and theirs <= MOST_WORDS:
        both: float = len(words.intersection(others))
    else:
        both = _estimated(words, others, size + theirs)
    return both / math.sqrt(size * theirs)


def _estimated(words: frozenset[int], others: Sequence[int], sizes: int) -> float:
    """Estimate how many words two long texts share, by those drawn from both together."""
    drawn = sorted(words.union(others), key=drawn_by)[:MOST_WORDS]
    share = len(words.intersection(others).intersection(drawn)) / len(drawn)
    return share / (1 + share) * sizes
