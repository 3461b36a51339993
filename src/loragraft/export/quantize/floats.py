"""The types that are plain floats, in numpy, and the check that all weights are finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gguf import GGMLQuantizationType

from loragraft.errors import NonFiniteError
from loragraft.export.quantize.ggml import check_buffers

if TYPE_CHECKING:
    from numpy.typing import NDArray

F32 = int(GGMLQuantizationType.F32)
F16 = int(GGMLQuantizationType.F16)
BF16 = int(GGMLQuantizationType.BF16)

# Bytes of one element.
FLOAT_TYPES = {F32: 4, F16: 2, BF16: 2}

# From 65520 on, rounding to nearest even gives infinity in IEEE half precision; the largest
# value that is kept is 65504.
F16_OVERFLOW = np.float32(65520.0)
F16_MAX = 65504

# At 2^128 - 2^119 rounding to nearest even leaves bfloat16's range, float32's being just wider.
BF16_OVERFLOW = np.uint32(0x7F7F8000).view(np.float32)


def largest_magnitude(x: NDArray[np.float32]) -> float:
    """Largest absolute value of `x`; NaN where `x` holds one, 0 for an empty array."""
    if x.size == 0:
        return 0.0
    # Two reductions without a temporary; both hand NaN on.
    return float(np.maximum(x.max(), -x.min()))


def refuse_non_finite(x: NDArray[np.float32]) -> float:
    """Return the largest magnitude of `x`.

    Raises:
        NonFiniteError: `x` holds NaN or Inf; the message counts them and names the first place.
    """
    largest = largest_magnitude(x)
    if np.isfinite(largest):
        return largest
    bad = ~np.isfinite(x)
    row, column = np.argwhere(bad)[0]
    raise NonFiniteError(
        f"found {int(bad.sum())} of {x.size} weights that are NaN or infinite, the first "
        f"({x[row, column]}) at row {row}, column {column} of this block; every weight must be "
        "finite. Check the base and the adapter: such a model answers with noise."
    )


def encode_float(qtype: int, x: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """Encode `x` (float32, [rows, n]) as F32, F16 or BF16 into `out` (uint8, [rows, bytes]).

    Raises:
        NonFiniteError: NaN or Inf in `x`, or a value beyond the type's range.
    """
    largest = refuse_non_finite(x)
    check_buffers(x, out, x.shape[1] * FLOAT_TYPES[qtype])
    if qtype == F32:
        out.view(np.float32)[...] = x
    elif qtype == F16:
        _refuse_overflow(largest, F16_OVERFLOW, f"F16, whose largest value is {F16_MAX}")
        out.view(np.float16)[...] = x
    else:
        _refuse_overflow(largest, BF16_OVERFLOW, "BF16, whose largest value is 3.3895e38")
        _encode_bf16(x, out.view(np.uint16))


def _encode_bf16(x: NDArray[np.float32], out: NDArray[np.uint16]) -> None:
    """Round finite float32 to bfloat16, ties to even."""
    bits = x.view(np.uint32)
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded >>= np.uint32(16)
    out[...] = rounded


def _refuse_overflow(largest: float, limit: np.float32, name: str) -> None:
    if largest >= limit:
        raise NonFiniteError(
            f"overflow: a weight of magnitude {largest:g} cannot be stored as {name}. "
            "Choose BF16, F32 or a quantized type, or check the adapter's scale."
        )
