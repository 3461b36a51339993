"""Which pieces go into a chunk together: the cheapest way to cut, over the whole document.

A cut costs by what it cuts (nothing between sections, much inside a line of code), a chunk by how
little it holds and by the headings inside it, which mix subjects. The cheapest sum over all ways of
cutting is found by dynamic programming, as a line breaker finds the best lines of a paragraph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from loragraft.rag.chunking.measure import CHARACTERS_PER_TOKEN, Measure
from loragraft.rag.chunking.pieces import Border, Piece

CUT_COSTS = {
    Border.SECTION: 0.0,
    Border.PARAGRAPH: 0.1,
    Border.ITEM: 0.2,
    Border.LINE: 0.3,
    Border.SENTENCE: 0.35,
    Border.CODE_GAP: 0.5,
    Border.CLAUSE: 0.8,
    Border.CODE: 0.9,
    Border.ROW: 0.9,
    Border.WORD: 1.2,
    Border.TOKEN: 3.0,
    Border.HEADED: 3.0,
}
"""What a cut costs. Their order is what matters; the sizes say how much emptier a chunk may be to
get a better cut: a table or a block of code that fits stays whole, even if the chunk before it is
left nearly empty."""

SMALL = 0.35
"""A chunk filled less than this share is too small to say much, and costs up to 1."""

UNEVEN = 0.1
"""Cost of an empty chunk beside that: it keeps chunks of one paragraph about equally long."""

LOST_OVERLAP = 0.5
"""Cost of a chunk in which the overlap asked for finds no place."""


def mixing_cost(level: int) -> float:
    """Return what a heading inside a chunk costs: more for chapters than for the least sections.

    With :data:`SMALL`, sections of up to about a quarter of the budget join their neighbours, and
    larger ones stand alone.
    """
    return 0.25 + 0.35 / level if level else 0.0


class Cut(NamedTuple):
    """A chunk as pieces ``first`` to ``last - 1``, with the text from ``start`` on in front."""

    first: int
    last: int
    start: int


def plan(
    pieces: Sequence[Piece], measure: Measure, rooms: Sequence[int], begins: Sequence[int]
) -> list[Cut]:
    """Return the cheapest chunks that hold every piece.

    Args:
        pieces: None heavier than the room of a chunk that begins at it.
        measure: Of the text.
        rooms: Weight that the text of a chunk may have which begins at a piece.
        begins: Where a chunk that begins at a piece would start, with its overlap.
    """
    cost = [0.0] + [float("inf")] * len(pieces)
    choice: list[tuple[int, int]] = [(0, 0)] * (len(pieces) + 1)
    mixed = _mixed(pieces)
    weights = _Weights(pieces, measure)
    for first, piece in enumerate(pieces):
        here = cost[first] + (_cut_cost(pieces, first) if first else 0.0) - mixed[first + 1]
        room, begin = rooms[first], begins[first]
        whole = weights.until(piece.start)
        repeated = weights.until(begin) if begin < piece.start else None
        for last in range(first + 1, len(pieces) + 1):
            weight, start = whole(last), piece.start
            if weight > room and last > first + 1:
                break
            total = here + mixed[last]
            if repeated is not None:
                more = repeated(last)
                if more <= room:
                    start, weight = begin, more
                else:
                    total += LOST_OVERLAP
            total += _size_cost(weight / room)
            if total < cost[last]:
                cost[last], choice[last] = total, (first, start)
    return _walk_back(choice, len(pieces))


class _Weights:
    """Weights from any place to the end of a piece, without looking the tokens up again."""

    def __init__(self, pieces: Sequence[Piece], measure: Measure) -> None:
        self._measure = measure
        self._stops = [piece.stop for piece in pieces]
        self._tokens = [measure.tokens_before(piece.stop) for piece in pieces]

    def until(self, start: int) -> Callable[[int], int]:
        """Return the weight from a place to the end of piece ``last - 1``, by ``last``."""
        before = self._measure.tokens_before(start)
        stops, tokens = self._stops, self._tokens

        def weight(last: int) -> int:
            length = stops[last - 1] - start
            return max(tokens[last - 1] - before, -(-length // CHARACTERS_PER_TOKEN))

        return weight


def _mixed(pieces: Sequence[Piece]) -> list[float]:
    """Return running sums: ``sums[b] - sums[a + 1]`` is the cost of headings inside ``a..b``."""
    sums = [0.0]
    for number, piece in enumerate(pieces):
        below_heading = number > 0 and pieces[number - 1].heading
        # A heading right below another one cannot be parted from it.
        sums.append(sums[-1] + (0.0 if below_heading else mixing_cost(piece.level)))
    return sums


def _cut_cost(pieces: Sequence[Piece], number: int) -> float:
    if pieces[number - 1].heading:  # never leave a heading at the end of a chunk
        return CUT_COSTS[Border.HEADED]
    return CUT_COSTS[pieces[number].border]


def _size_cost(fill: float) -> float:
    small = max(0.0, (SMALL - fill) / SMALL)
    return small * small + UNEVEN * (1.0 - min(fill, 1.0)) ** 2


def _walk_back(choice: list[tuple[int, int]], last: int) -> list[Cut]:
    cuts = []
    while last > 0:
        first, start = choice[last]
        cuts.append(Cut(first, last, start))
        last = first
    return cuts[::-1]
