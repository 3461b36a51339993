"""Which vectors point the same way: exact inner products, block by block.

FAISS proposes pairs in float32, where a sum depends on how many vectors are multiplied at once;
what it proposes is multiplied again in float64, which decides. So the same pairs are found however
vectors are grouped.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from loragraft.errors import InputError, MissingExtraError, UnavailableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_BYTES = 16 << 20
"""Vectors that are in memory at a time."""

_MARGIN = 1e-4
"""By how much a product of unit vectors in float32 may fall short: at 4096 dimensions, 2e-5."""

_DIGITS = 6
"""Of a score. float32 vectors hold no more, and so equal texts are equally like a third."""


class Match(NamedTuple):
    """Two vectors that point the same way.

    Attributes:
        a: Row of the first.
        b: Row of the second.
        score: Their inner product.
    """

    a: int
    b: int
    score: float


def check_threshold(threshold: float) -> None:
    """Check a cosine from which on two texts are duplicates.

    Raises:
        InputError: If it is none: at 0 and below, every text would be like every other.
    """
    if not 0 < threshold <= 1:
        raise InputError(
            f"A threshold of {threshold} was given for texts of the same meaning; it must be above "
            "0 and at most 1. 0.9 is usual."
        )


def check_vectors(
    vectors: NDArray[np.float32], count: int, embedder: str, *, width: int | None = None
) -> NDArray[np.float32]:
    """Return vectors as rows of float32, which they should be already.

    Args:
        vectors: What an embedder gave.
        count: Texts that it was given.
        embedder: Its name.
        width: Dimensions of what it gave before.

    Raises:
        UnavailableError: If it gave NaN, Inf, another number of vectors or of dimensions.
    """
    rows = np.ascontiguousarray(vectors, "<f4")
    if rows.ndim != 2 or len(rows) != count or not np.isfinite(rows).all():
        raise UnavailableError(
            f"{embedder} was given {count} texts and answered with vectors of the shape "
            f"{rows.shape}{'' if np.isfinite(rows).all() else ', some of them not finite'}. "
            "Choose another embedder, or verify this one."
        )
    if width is not None and rows.shape[1] != width:
        raise UnavailableError(
            f"{embedder} answered with vectors of {rows.shape[1]} dimensions, and with {width} "
            "before. Check that one model answers under its name."
        )
    return rows


def matches(
    queries: NDArray[np.float32], block: NDArray[np.float32], threshold: float
) -> Iterator[Match]:
    """Yield every pair of a query and a row of a block at or above a threshold."""
    if not len(queries) or not len(block):
        return
    faiss = _faiss()
    index = faiss.IndexFlatIP(block.shape[1])
    index.add(block)
    limits, _, rows = index.range_search(queries, threshold - _MARGIN)
    for query, (first, last) in enumerate(itertools.pairwise(limits.tolist())):
        for row in sorted(rows[first:last].tolist()):
            score = score_of(queries[query], block[row])
            if score >= threshold:
                yield Match(query, row, score)


def score_of(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the inner product of two vectors, rounded; at most 1."""
    product = float(np.dot(a.astype(np.float64), b.astype(np.float64)))
    return min(round(product, _DIGITS), 1.0)


def blocks(path: Path, rows: int, width: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield a file's vectors with the row of the first, as many at a time as memory is meant for.

    The file is read rather than mapped, so that a process does not seem to hold all of it.

    Raises:
        InputError: If the file is shorter than it should be.
    """
    at_once = max(_BLOCK_BYTES // (4 * width), 1)
    with path.open("rb", buffering=0) as file:
        for first in range(0, rows, at_once):
            count = min(at_once, rows - first)
            values = np.fromfile(file, "<f4", count * width)
            if len(values) != count * width:
                raise InputError(
                    f"{path} ends before its {rows} vectors do. Delete it and begin again."
                )
            yield first, values.reshape(count, width)


def _faiss() -> Any:  # noqa: ANN401 - its own annotations are partial
    try:
        return importlib.import_module("faiss")
    except ImportError:
        purpose = "Comparing texts by their meaning"
        raise MissingExtraError("faiss-cpu", "rag", purpose) from None
