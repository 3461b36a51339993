"""Batches of texts of about one length, which need little padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from loragraft.errors import UnavailableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

OnDone = Callable[[int], object]


def in_batches(
    texts: Sequence[str],
    size: int,
    embed: Callable[[list[str]], NDArray[np.float32]],
    on_done: OnDone | None,
    lengths: Sequence[int] | None = None,
) -> NDArray[np.float32]:
    """Embed texts batch by batch, the longest first, and return vectors in the texts' order.

    Args:
        texts: In any order.
        size: Texts in a batch.
        embed: Embeds one batch.
        on_done: Hears how many texts each finished batch held.
        lengths: Of the texts, as the model counts; characters are a worse guess.

    Returns:
        Unit vectors, shape [texts, dimensions]; of no text, of no dimensions.

    Raises:
        UnavailableError: If batches come back in different dimensions.
    """
    weights = [len(text) for text in texts] if lengths is None else lengths
    order = sorted(range(len(texts)), key=lambda number: -weights[number])
    out = np.empty((0, 0), np.float32)
    for first in range(0, len(order), size):
        part = order[first : first + size]
        vectors = unit(embed([texts[number] for number in part]))
        if not first:
            out = np.empty((len(texts), vectors.shape[1]), np.float32)
        if vectors.shape[1] != out.shape[1]:
            raise UnavailableError(
                f"The embedder answered with vectors of {out.shape[1]} dimensions, then of "
                f"{vectors.shape[1]}. Check that one model answers under its name."
            )
        out[part] = vectors
        if on_done is not None:
            on_done(len(part))
    return out


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors of length 1; the vector of nothing stays as it is."""
    wide = np.asarray(vectors, np.float64)  # where no square of a float32 is infinite
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    with np.errstate(invalid="ignore"):  # whoever keeps vectors looks for NaN and Inf
        return np.asarray(wide / lengths, np.float32)
