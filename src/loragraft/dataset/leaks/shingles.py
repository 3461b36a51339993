"""Texts that are looked for inside longer ones, by five words in a row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from loragraft.dataset.leaks.words import drawn_by, number_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTH = 5
"""Words in a row. Fewer stand in any text ("what is the effect of"); a question that is shorter is
not looked for."""
INSIDE = 0.7
"""Of the runs of words of a long text, how many must stand in the other: all but what some changed
words break."""
SHORT_QUESTION, SHORT_PASSAGE = 26, 8
"""Runs up to which all must: of a question up to thirty words, since another word in it makes it
another question; of a passage up to twelve."""
TELLING = 4
"""One in so many words of a text, the rarest, must all stand in the other, besides what it names:
else a question in the same words about another thing would do."""
MOST_RUNS = 64
"""Runs and words of a long text that are kept, the same ones wherever it is met."""


class Inside(NamedTuple):
    """A text that stands inside another.

    Attributes:
        needle: Number of the text.
        hay: Number of the other, among those given.
        share: Of its runs of words, how many are there.
        at: Which run of the other is the first of them.
    """

    needle: int
    hay: int
    share: float
    at: int


@dataclass
class Needles:
    """Texts that are looked for.

    Attributes:
        short: Runs of a text up to which all must stand in another.
        runs: Hashes of each text's runs of words.
        words: Hashes of each text's words.
        names: Hashes of what each text names.
    """

    short: int
    runs: list[NDArray[np.uint64]] = field(default_factory=list)
    words: list[NDArray[np.uint32]] = field(default_factory=list)
    names: list[frozenset[int]] = field(default_factory=list)

    def add(self, words: Sequence[str], names: frozenset[int] = frozenset()) -> int | None:
        """Take a text; return its number, or None where it is too short to be found."""
        import numpy as np

        if len(words) < WIDTH:
            return None
        self.runs.append(np.unique(hashed(words))[:MOST_RUNS])
        numbers = {number_of(word) for word in words}
        kept = sorted(numbers, key=drawn_by)[:MOST_RUNS]
        self.words.append(np.array(kept, np.uint32))
        self.names.append(names & numbers)
        return len(self.runs) - 1

    def index(self) -> Index:
        """Return what finds them."""
        return Index(self.runs, _telling(self), self.short)


def _telling(needles: Needles) -> list[frozenset[int]]:
    """Return of each text what it names, and its rarest words."""
    import numpy as np

    every = np.concatenate([np.empty(0, np.uint32), *needles.words])
    found, counts = np.unique(every, return_counts=True)
    telling = []
    for words, names in zip(needles.words, needles.names, strict=True):
        rarity = counts[np.searchsorted(found, words)]
        rarest = words[np.lexsort((words, rarity))][: math.ceil(len(words) / TELLING)]
        telling.append(names | frozenset(rarest.tolist()))
    return telling


def least(runs: int, short: int) -> int:
    """Return how many of a text's runs must stand in another."""
    return runs if runs <= short else math.ceil(INSIDE * runs)


class Index:
    """Finds texts in others by their rarest runs of words."""

    def __init__(
        self,
        runs: Sequence[NDArray[np.uint64]],
        telling: Sequence[frozenset[int]],
        short: int,
    ) -> None:
        """Choose of each text as many of the rarest runs as it could miss, and one more."""
        import numpy as np

        self._runs, self._telling, self._short = runs, telling, short
        every = np.concatenate(runs) if runs else np.empty(0, np.uint64)
        found, counts = np.unique(every, return_counts=True)
        keys, owners = [], []
        for number, own in enumerate(runs):
            rarity = counts[np.searchsorted(found, own)]
            spare = len(own) - least(len(own), short) + 1
            rarest = own[np.lexsort((own, rarity))][:spare]
            keys.append(rarest)
            owners.append(np.full(len(rarest), number, np.int64))
        anchors = np.concatenate(keys) if keys else np.empty(0, np.uint64)
        order = np.argsort(anchors, kind="stable")
        self._anchors = anchors[order]
        self._owners = np.concatenate(owners)[order] if owners else np.empty(0, np.int64)

    def search(self, texts: Sequence[Sequence[str]]) -> Iterator[Inside]:
        """Yield which texts stand in which of several others, given as words."""
        import numpy as np

        if not len(self._anchors):
            return
        flat = [word for words in texts for word in words]
        stops = np.cumsum([len(words) for words in texts])
        runs = hashed(flat)
        owners = np.searchsorted(stops, np.arange(len(runs)), "right")
        whole = np.arange(len(runs)) + WIDTH <= stops[owners]
        first = np.searchsorted(self._anchors, runs, "left")
        known = self._anchors[np.minimum(first, len(self._anchors) - 1)] == runs
        hits = np.flatnonzero(known & whole)
        for hay in np.unique(owners[hits]).tolist():
            mine = runs[(owners == hay) & whole]
            met = runs[hits[owners[hits] == hay]]
            yield from self._verified(hay, texts[hay], mine, met)

    def _verified(
        self,
        hay: int,
        words: Sequence[str],
        mine: NDArray[np.uint64],
        met: NDArray[np.uint64],
    ) -> Iterator[Inside]:
        """Compare a text with those whose rare runs it holds."""
        import numpy as np

        told = frozenset(number_of(word) for word in words)
        met = np.unique(met)
        first = np.searchsorted(self._anchors, met, "left")
        last = np.searchsorted(self._anchors, met, "right")
        needles = {
            int(owner)
            for begin, end in zip(first.tolist(), last.tolist(), strict=True)
            for owner in self._owners[begin:end]
        }
        for needle in sorted(needles):
            own = self._runs[needle]
            both = int(np.isin(own, mine).sum())
            if both >= least(len(own), self._short) and self._telling[needle] <= told:
                at = int(np.flatnonzero(np.isin(mine, own))[0])
                yield Inside(needle, hay, both / len(own), at)


def hashed(words: Sequence[str]) -> NDArray[np.uint64]:
    """Return a hash of every five words in a row, in their order."""
    import numpy as np

    numbers = np.fromiter((number_of(word) for word in words), np.uint64, len(words))
    values = np.zeros(max(len(words) - WIDTH + 1, 0), np.uint64)
    for step in range(WIDTH):
        values = values * np.uint64(0x9E3779B97F4A7C15) + numbers[step : step + len(values)]
    # So that the order of hashes says nothing of the words: SplitMix64's last step.
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed
