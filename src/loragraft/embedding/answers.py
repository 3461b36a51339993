"""Vectors in an endpoint's answer: all of them, of one length, and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from loragraft.errors import UnavailableError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def vectors_of(value: Any, count: int, url: str) -> NDArray[np.float32]:  # noqa: ANN401
    """Return the vectors of an answer.

    Args:
        value: What stands where the vectors should.
        count: How many were asked for.
        url: Of the endpoint, for messages.

    Raises:
        UnavailableError: If these are not as many vectors of one length.
    """
    try:
        with np.errstate(over="ignore"):  # infinite numbers are found where vectors are checked
            vectors = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        vectors = np.empty((0, 0), np.float32)
    if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
        raise UnavailableError(
            f"{url} was asked to embed {count} texts and answered with something else. Check "
            "that the model is one for embeddings."
        )
    return vectors
