"""Which texts of two collections share keys: the pairs that are worth comparing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from loragraft.dataset.near.bands import Bands, band_keys
from loragraft.dataset.near.minhash import MOST_COMPARED, MOST_OF_A_KEY
from loragraft.dataset.near.shingles import Shingles, jaccard, shingles

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 512
"""Texts whose shingles, and those of what they may be like, are in memory at a time."""


class KeyIndex:
    """The texts of one collection by their keys: 12 bytes of memory for each key of a text."""

    def __init__(
        self, texts: Sequence[str], shape: Bands, on_done: Callable[[int], object]
    ) -> None:
        """Hash normalised texts, all different.

        Args:
            texts: In any order; none is empty.
            shape: How many keys each text has.
            on_done: Hears how many texts were just hashed.
        """
        parts = []
        for first in range(0, len(texts), _AT_ONCE):
            part = texts[first : first + _AT_ONCE]
            parts.append(band_keys(shingles(part), shape))
            on_done(len(part))
        keys = np.concatenate(parts) if parts else np.zeros((0, shape.bands), np.int64)
        order = np.argsort(keys, axis=None, kind="stable")
        self._keys = keys.reshape(-1)[order]
        self._rows = (order // shape.bands).astype(np.int32)

    def sharing(self, keys: NDArray[np.int64]) -> Iterator[list[int]]:
        """Yield for each text, by its keys, the rows that share the most of them."""
        firsts = np.searchsorted(self._keys, keys, "left")
        lasts = np.searchsorted(self._keys, keys, "right")
        lasts = np.minimum(lasts, firsts + MOST_OF_A_KEY)
        for starts, ends in zip(firsts.tolist(), lasts.tolist(), strict=True):
            parts = [self._rows[s:e] for s, e in zip(starts, ends, strict=True) if e > s]
            if not parts:
                yield []
                continue
            rows, shared = np.unique(np.concatenate(parts), return_counts=True)
            yield rows[np.argsort(-shared, kind="stable")[:MOST_COMPARED]].tolist()


def alike(
    a: Sequence[str],
    b: Sequence[str],
    shape: Bands,
    threshold: float,
    on_done: Callable[[int], object],
) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of normalised texts whose Jaccard similarity reaches a threshold."""
    index = KeyIndex(b, shape, on_done)
    for first in range(0, len(a), _AT_ONCE):
        own = shingles(a[first : first + _AT_ONCE])
        near = list(index.sharing(band_keys(own, shape)))
        other, place = _read(b, near)
        pairs = [(number, row) for number, rows in enumerate(near) for row in rows]
        scores = jaccard(own, other, [(number, place[row]) for number, row in pairs])
        for (number, row), score in zip(pairs, scores, strict=True):
            if score >= threshold:
                yield first + number, row, score
        on_done(len(near))


def _read(texts: Sequence[str], near: list[list[int]]) -> tuple[Shingles, dict[int, int]]:
    """Return the shingles of the texts that are named, and where each one's stand."""
    rows = sorted({row for rows in near for row in rows})
    return shingles([texts[row] for row in rows]), {row: place for place, row in enumerate(rows)}
