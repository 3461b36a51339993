"""The row order of query and key projections in GGUF's llama architecture.

Hugging Face rotates a head's first half against its second half, llama.cpp's llama graph rotates
neighbouring pairs. So row `i` of the first half and row `i` of the second half come to stand side
by side. Source: llama.cpp, `conversion/llama.py` (`LlamaModel.permute`).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

HALVES = 2  # a rotary head has a first and a second half


def permute_rows(array: NDArray[Scalar], heads: int) -> NDArray[Scalar]:
    """Put rows into llama.cpp's order.

    `permute_rows(np.arange(n), heads)[i]` is the checkpoint's row that becomes row `i`.

    Args:
        array: Shape `(heads * head_length, ...)`; weights, biases or row numbers.
        heads: Heads among the rows (for keys: key-value heads).

    Returns:
        A copy of the same shape.

    Raises:
        ValueError: If the rows do not divide into heads of an even length.
    """
    halves = _check_rows(array.shape[0], heads)
    split = array.reshape(heads, HALVES, halves, *array.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(array.shape)


def unpermute_rows(array: NDArray[Scalar], heads: int) -> NDArray[Scalar]:
    """Put llama.cpp's row order back into the checkpoint's; the inverse of `permute_rows`."""
    halves = _check_rows(array.shape[0], heads)
    split = array.reshape(heads, halves, HALVES, *array.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(array.shape)


def _check_rows(rows: int, heads: int) -> int:
    if heads < 1 or rows % (heads * HALVES):
        raise ValueError(f"{rows} rows do not divide into {heads} heads of an even length.")
    return rows // (heads * HALVES)
