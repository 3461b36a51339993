"""How much of an embedder's budget any stretch of a text takes."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator

from loragraft.embedding.protocol import TextReader

STRETCH = 100_000
"""Characters that are tokenized at once: a tokenizer holds some hundred bytes for each token."""

CHARACTERS_PER_TOKEN = 12
"""More characters than this count as a token of their own. Prose has 3 to 5; but white space has no
tokens, and some tokenizers turn a word of 10,000 characters into one unknown token: a chunk without
an upper bound would fill a model's whole context."""

LONGEST_CHARACTER = 64
"""Code points that people write as one character at most (a family of emoji has 11); where more
are joined, as in ornamented text without end, they are cut all the same."""

_STRETCH_END = re.compile(r"\s(?=\S)")


class Measure:
    """Token borders of one text."""

    def __init__(self, text: str, embedder: TextReader) -> None:
        """Tokenize a text, stretch by stretch."""
        self.text = text
        self._stops = array("q")
        for start, stop in _stretches(text):
            last = start
            for _, end in embedder.token_spans(text[start:stop]):
                last = max(last, start + end)  # never back, whatever a tokenizer says
                self._stops.append(last)

    def tokens_before(self, position: int) -> int:
        """Return how many tokens end at a place or before it."""
        return bisect_right(self._stops, position)

    def weight(self, start: int, stop: int) -> int:
        """Return how much of a budget a span takes: its tokens, or its length if that is more."""
        tokens = self.tokens_before(stop) - self.tokens_before(start)
        return max(tokens, -(-(stop - start) // CHARACTERS_PER_TOKEN))

    def furthest(self, start: int, stop: int, budget: int) -> int:
        """Return the last token border in a span up to which it takes no more than a budget.

        At least one character past the start, whatever the budget.
        """
        stop = min(stop, start + budget * CHARACTERS_PER_TOKEN)
        first = bisect_right(self._stops, start)
        if bisect_right(self._stops, stop) - first > budget:
            stop = min(stop, self._stops[first + budget - 1])
        whole, least = stop, max(start + 1, stop - LONGEST_CHARACTER)
        while whole > least and _joins(self.text, whole):
            whole -= 1
        return max(stop if _joins(self.text, whole) else whole, start + 1)


def _joins(text: str, position: int) -> bool:
    """Tell whether a character belongs to the one before it: marks, joiners, selectors."""
    if position >= len(text):
        return False
    import unicodedata

    here, before = text[position], text[position - 1]
    return "\u200d" in (here, before) or unicodedata.category(here) in ("Mn", "Me", "Mc")


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Yield parts that end at white space where there is some nearby."""
    start = 0
    while len(text) - start > STRETCH:
        found = _STRETCH_END.search(text, start + STRETCH, start + 2 * STRETCH)
        stop = found.end() if found else start + 2 * STRETCH
        yield start, min(stop, len(text))
        start = stop
    if start < len(text):
        yield start, len(text)
