"""Every five characters of a text, as numbers; what two texts share says how alike they are.

Characters rather than words, so that texts without spaces between words are compared as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 5
"""Characters of a shingle: fewer are shared by chance, more are broken by every small change."""

LONGEST = 20_000
"""Characters of a text that are compared: texts that are alike so far are alike."""

_BASE = np.uint64(0x9E3779B97F4A7C15)


class Shingles(NamedTuple):
    """The shingles of several texts, one text after the other.

    Attributes:
        hashes: Different ones of each text in ascending order, uint64.
        starts: Where each text's begin, and the end of the last; int64, shape [texts + 1].
    """

    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64]

    def of(self, number: int) -> NDArray[np.uint64]:
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
    offsets = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.repeat(firsts, counts) + offsets
    return _distinct(_hashes(codes.astype(np.uint64), places), counts)


def _hashes(codes: NDArray[np.uint64], places: NDArray[np.int64]) -> NDArray[np.uint64]:
    values = np.zeros(len(places), np.uint64)
    for step in range(WIDTH):
        values = values * _BASE + codes[places + step] + np.uint64(1)
    return mixed(values)


def _distinct(hashes: NDArray[np.uint64], counts: NDArray[np.int64]) -> Shingles:
    """Sort each text's hashes and drop the doubled ones."""
    owners = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((hashes, owners))
    hashes = hashes[order]  # owners stay as they are: they were in order
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(np.bincount(owners[new], minlength=len(counts)), out=starts[1:])
    return Shingles(hashes[new], starts)


def jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    """Return what share of two texts' shingles is in both; of nothing, 0."""
    if not len(a) or not len(b):
        return 0.0
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)
