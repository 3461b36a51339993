"""MinHash with bands: keys that texts share if they are alike, and rarely else (Broder; Indyk).

The chance that the smallest hash of two sets of shingles is the same is their Jaccard similarity J.
``rows`` such minima make one key, which two texts share with chance J**rows; of ``bands`` keys they
share at least one with chance 1 - (1 - J**rows)**bands. Keys only propose: who shares one is
compared shingle by shingle.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from loragraft.dataset.near.shingles import Shingles, mixed
from loragraft.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FOUND = 0.995
"""Share of pairs right at the threshold that share a key; above it, more of them do."""

_MOST_HASHES = 128
_FEWEST = 4
"""Keys of a text: where one is shared by more texts than are remembered of it, there are others."""
_LOWEST, _HIGHEST = 0.3, 1.0
"""Below the lowest, every text would propose every other."""


class Bands(NamedTuple):
    """How many keys a text has, and how many minima make one."""

    bands: int
    rows: int

    def chance(self, similarity: float) -> float:
        """Return the chance that two texts of a similarity share a key."""
        return 1 - (1 - similarity**self.rows) ** self.bands


def bands_for(threshold: float) -> Bands:
    """Return the bands with the longest keys that still find what they should.

    Raises:
        InputError: If the threshold is none that texts can be compared by.
    """
    if not _LOWEST <= threshold <= _HIGHEST:
        raise InputError(
            f"A threshold of {threshold} was given for near-duplicates by MinHash, which compares "
            f"characters; it must be between {_LOWEST} and {_HIGHEST:g}. 0.8 is usual."
        )
    best = Bands(_MOST_HASHES, 1)
    for rows in range(1, _MOST_HASHES // _FEWEST + 1):
        shared = min(threshold**rows, 1 - 1e-12)
        bands = max(math.ceil(math.log(1 - _FOUND) / math.log1p(-shared)), _FEWEST)
        if bands * rows <= _MOST_HASHES:
            best = Bands(bands, rows)
    return best


def _odd_numbers(what: str, count: int) -> NDArray[np.uint64]:
    digests = (hashlib.sha256(f"{what} {number}".encode()).digest() for number in range(count))
    values = [int.from_bytes(digest[:8], "little") | 1 for digest in digests]
    return np.array(values, np.uint64)


def band_keys(texts: Shingles, shape: Bands) -> NDArray[np.int64]:
    """Return each text's keys, the same on every platform.

    Returns:
        Shape [texts, bands], signed as SQLite's integers are; rows of texts without shingles hold
        nothing that means anything.
    """
    count = len(texts.starts) - 1
    filled = np.flatnonzero(np.diff(texts.starts) > 0)
    starts = texts.starts[filled]
    factors = _odd_numbers("factor", shape.bands * shape.rows)
    joins = _odd_numbers("join", shape.rows)
    keys = np.zeros((count, shape.bands), np.uint64)
    if not len(filled):
        return keys.view(np.int64)
    values = texts.hashes.astype(np.uint64)
    for band in range(shape.bands):
        key = np.full(len(filled), band + 1, np.uint64)
        for row in range(shape.rows):
            hashes = values * factors[band * shape.rows + row]
            hashes ^= hashes >> np.uint64(32)
            key = mixed(key + np.minimum.reduceat(hashes, starts) * joins[row])
        keys[filled, band] = key
    return keys.view(np.int64)
