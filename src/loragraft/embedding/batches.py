"""Batches of texts of about one length, which need little padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OnDone = Callable[[int], object]


def in_batches(
    texts: Sequence[str],
    size: int,
    embed: Callable[[list[str]], NDArray[np.float32]],
    on_done: OnDone | None,
    dimensions: int = 0,
) -> NDArray[np.float32]:
    """Embed texts batch by batch, the longest first, and return vectors in the texts' order.

    Args:
        texts: In any order.
        size: Texts in a batch.
        embed: Embeds one batch.
        on_done: Hears how many texts each finished batch held.
        dimensions: Of a vector, where it is known.

    Returns:
        Unit vectors, shape [texts, dimensions].
    """
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
    out = np.empty((len(texts), dimensions), np.float32)
    for first in range(0, len(order), size):
        part = order[first : first + size]
        vectors = unit(embed([texts[number] for number in part]))
        if vectors.shape[1] != out.shape[1]:
            out = np.empty((len(texts), vectors.shape[1]), np.float32)
        out[part] = vectors
        if on_done is not None:
            on_done(len(part))
    return out


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors of length 1; the vector of nothing stays as it is."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    found: NDArray[np.float32] = vectors / lengths
    return found
