"""Questions in nearly the same words: an exact join over rare words, not every pair."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from loragraft.artifact.progress import Progress
from loragraft.dataset.leaks.book import Book, Found
from loragraft.dataset.leaks.columns import MOST_WORDS, Columns, Frequencies
from loragraft.dataset.leaks.facts import agree, apart
from loragraft.dataset.leaks.report import NEAR
from loragraft.dataset.leaks.same import first_by_key
from loragraft.dataset.leaks.words import drawn_by

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
        """Look at every question once; of equal ones with equal answers at the first."""
        import numpy as np

        self._columns, self._frequencies, self._near = columns, frequencies, near
        self._numbers: dict[int, array[int]] = {}
        for number in first_by_key(columns, columns.of(split), columns.whole).values():
            for word in self._rarest(number):
                self._numbers.setdefault(word, array("Q")).append(number)
        self._drawn = np.array(columns.drawn, np.uint32)
        self._places = np.array(columns.places, np.int64)
        self._lengths = np.array(columns.lengths, np.int64)

    def alike(self, number: int) -> Iterator[tuple[int, float]]:
        """Yield questions that are alike, with their cosine."""
        import numpy as np

        found = [self._numbers[word] for word in self._rarest(number) if word in self._numbers]
        if not found:
            return
        others = np.unique(np.concatenate([np.frombuffer(each, np.uint64) for each in found]))
        others = others.astype(np.int64)
        size, sizes = int(self._lengths[number]), self._lengths[others]
        fits = np.minimum(size, sizes) >= self._near**2 * np.maximum(size, sizes) - _ROUNDING
        others, sizes = others[fits], sizes[fits]
        if not len(others):
            return
        scores = self._shared(number, others) / np.sqrt(size * sizes)
        for at in np.flatnonzero((scores >= self._near - _ROUNDING) | (sizes > MOST_WORDS)):
            score = min(float(scores[at]), 1.0)
            if max(size, int(sizes[at])) > MOST_WORDS:
                score = self._estimated(number, int(others[at]))
            if score >= self._near - _ROUNDING:
                yield int(others[at]), score

    def _shared(self, number: int, others: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many words each of several questions shares with one."""
        import numpy as np

        own = np.sort(self._drawn[self._places[number] : self._places[number + 1]])
        begins = self._places[others]
        counts = self._places[others + 1] - begins
        ends = np.cumsum(counts)
        words = self._drawn[np.arange(ends[-1]) + np.repeat(begins - ends + counts, counts)]
        same = own[np.minimum(np.searchsorted(own, words), len(own) - 1)] == words
        shared: NDArray[np.int64] = np.add.reduceat(same.astype(np.int64), ends - counts)
        return shared

    def _estimated(self, number: int, other: int) -> float:
        """Estimate the cosine of two long texts by the words drawn from both together."""
        columns = self._columns
        mine, theirs = frozenset(columns.words(number)), frozenset(columns.words(other))
        drawn = sorted(mine | theirs, key=drawn_by)[:MOST_WORDS]
        share = len(mine.intersection(theirs).intersection(drawn)) / len(drawn)
        sizes = columns.lengths[number], columns.lengths[other]
        both = share / (1 + share) * sum(sizes)
        return min(both / math.sqrt(sizes[0] * sizes[1]), 1.0)

    def _rarest(self, number: int) -> list[int]:
        words = self._columns.words(number)
        counts = self._frequencies.of(words)
        order = [word for _, word in sorted(zip(counts, words, strict=True))]
        needed = math.ceil(self._near**2 * len(order) - _ROUNDING)
        return order[: len(order) - needed + 1] if order else []
