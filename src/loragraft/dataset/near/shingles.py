"""Every five characters of a text, as numbers; what two texts share says how alike they are.

Characters rather than words, so that texts without spaces between words are compared as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 5
"""Characters of a shingle: fewer are shared by chance, more are broken by every small change."""

LONGEST = 20_000
"""Characters of a text that are compared: texts that are alike so far are alike."""

_AT_ONCE = 200_000
"""Shingles of pairs that are compared at a time."""
_TABLE_BYTES = 16 << 20
"""Of a table that says at once whether a text has a shingle."""

_BASE = np.uint64(0x9E3779B97F4A7C15)


class Shingles(NamedTuple):
    """The shingles of several texts, one text after the other.

    Attributes:
        hashes: Different ones of each text in ascending order, uint32. Of two texts' five-character
            pieces, one in millions has the hash of another.
        starts: Where each text's begin, and the end of the last; int64, shape [texts + 1].
    """

    hashes: NDArray[np.uint32]
    starts: NDArray[np.int64]

    def of(self, number: int) -> NDArray[np.uint32]:
        """Return one text's."""
        return self.hashes[self.starts[number] : self.starts[number + 1]]


def mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return values whose every bit depends on every bit (Steele and others' SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def shingles(texts: Sequence[str]) -> Shingles:
    """Return the shingles of normalised texts.

    A text shorter than a shingle is one; a text of nothing has none. Of a text of more than
    :data:`LONGEST` characters, no more are read. The hashes are the same on every platform.
    """
    padded = [text[:LONGEST].ljust(WIDTH, "\0") if text else "" for text in texts]
    lengths = np.array([len(text) for text in padded], np.int64)
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), "<u4")
    counts = np.maximum(lengths - (WIDTH - 1), 0)
    total = int(counts.sum())
    firsts = np.cumsum(lengths) - lengths
    offsets = np.arange(total, dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.repeat(firsts, counts) + offsets
    return _distinct(_hashes(codes.astype(np.uint64), places), counts)


def _hashes(codes: NDArray[np.uint64], places: NDArray[np.int64]) -> NDArray[np.uint32]:
    values = np.zeros(len(places), np.uint64)
    for step in range(WIDTH):
        values = values * _BASE + codes[places + step] + np.uint64(1)
    hashes: NDArray[np.uint32] = (mixed(values) >> np.uint64(32)).astype(np.uint32)
    return hashes


def _distinct(hashes: NDArray[np.uint32], counts: NDArray[np.int64]) -> Shingles:
    """Sort each text's hashes and drop the doubled ones."""
    bounds = [0, *np.cumsum(counts).tolist()]
    for first, last in itertools.pairwise(bounds):
        hashes[first:last].sort()
    new = np.ones(len(hashes), bool)
    new[1:] = hashes[1:] != hashes[:-1]
    new[[first for first in bounds[:-1] if first < len(hashes)]] = True
    before = np.zeros(len(hashes) + 1, np.int64)
    np.cumsum(new, out=before[1:])
    return Shingles(hashes[new], before[bounds])


def gathered(parts: Sequence[NDArray[np.uint32]]) -> Shingles:
    """Return texts' own shingles, one text after the other."""
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    return Shingles(np.concatenate(parts) if parts else np.zeros(0, np.uint32), starts)


def jaccard(a: Shingles, b: Shingles, pairs: Sequence[tuple[int, int]]) -> list[float]:
    """Return for pairs of a text of each what share of their shingles is in both.

    Of a pair in which one has none, 0. Few shingles are in memory at a time.
    """
    known = np.unique(a.hashes)
    if not len(known) or not len(b.hashes):
        return [0.0] * len(pairs)
    texts = len(a.starts) - 1
    owners = np.repeat(np.arange(texts, dtype=np.int64), np.diff(a.starts))
    own = owners * len(known) + np.searchsorted(known, a.hashes)  # ascending, as they stand
    ranks = np.minimum(np.searchsorted(known, b.hashes), len(known) - 1)
    ranks[known[ranks] != b.hashes] = -1
    is_own = _membership(own, texts * len(known))
    sizes = np.diff(a.starts), np.diff(b.starts)
    found: list[float] = []
    for part in _bounded(pairs, sizes[1]):
        rows, columns = np.array(part, np.int64).reshape(-1, 2).T
        lengths = sizes[1][columns]
        places = _spread(b.starts[columns], lengths)
        numbers = np.repeat(np.arange(len(rows), dtype=np.int64), lengths)
        values = ranks[places]
        numbers, values = numbers[values >= 0], values[values >= 0]
        hits = numbers[is_own(rows[numbers] * len(known) + values)]
        both = np.bincount(hits, minlength=len(rows))
        either = np.maximum(sizes[0][rows] + sizes[1][columns] - both, 1)
        found += (both / either).tolist()
    return found


def _membership(
    own: NDArray[np.int64], width: int
) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]]:
    """Return what says which of some keys below ``width`` are among one's own, ascending ones."""
    if width > _TABLE_BYTES:
        return lambda keys: own[np.minimum(np.searchsorted(own, keys), len(own) - 1)] == keys
    table = np.zeros(width, bool)
    table[own] = True
    return lambda keys: table[keys]


def _spread(firsts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of several runs of places."""
    offsets: NDArray[np.int64] = np.arange(int(lengths.sum()), dtype=np.int64)
    offsets += np.repeat(firsts - (np.cumsum(lengths) - lengths), lengths)
    return offsets


def _bounded(
    pairs: Sequence[tuple[int, int]], sizes: NDArray[np.int64]
) -> Iterator[Sequence[tuple[int, int]]]:
    """Yield pairs, as many at a time as together have few enough shingles."""
    first = total = 0
    for number, size in enumerate(sizes[[column for _, column in pairs]].tolist()):
        total += size
        if total > _AT_ONCE and number > first:
            yield pairs[first:number]
            first, total = number, size
    if first < len(pairs):
        yield pairs[first:]
