"""What Q4_K and Q5_K share after the search: packed scales, and the final integers."""

from __future__ import annotations

import numpy as np
from numba import njit

from loragraft.export.quantize.lanes import WIDTH, half_bits, half_value, nearest_int
from loragraft.export.quantize.scale_min import INVERSE, LENGTH, OFFSET, SCALE, START

BLOCK = 256
SUB_BLOCKS = 8
SCALES_AT = 4

# Scales and minima of the sub-blocks are 6-bit multiples of the block's own.
LEVELS = 63

_LEVELS = np.float32(LEVELS)
_ZERO = np.float32(0.0)


@njit(nogil=True, error_model="numpy")
def pack_scales(found: np.ndarray, lane: int, out: np.ndarray, to: int, steps: np.ndarray) -> None:
    """Write d, dmin and the 12 bytes of scales and minima at `out[to:]`.

    `steps` receives what a reader will use: eight scales, then eight minima.
    """
    top_scale = _ZERO
    top_offset = _ZERO
    for j in range(SUB_BLOCKS):
        top_scale = max(top_scale, found[SCALE * WIDTH + lane + j])
        top_offset = max(top_offset, found[OFFSET * WIDTH + lane + j])
    to_scale = _LEVELS / top_scale if top_scale > _ZERO else _ZERO
    to_offset = _LEVELS / top_offset if top_offset > _ZERO else _ZERO
    d = half_bits(top_scale / _LEVELS)
    dmin = half_bits(top_offset / _LEVELS)
    out[to] = d & 0xFF
    out[to + 1] = d >> 8
    out[to + 2] = dmin & 0xFF
    out[to + 3] = dmin >> 8
    d_value = half_value(d)
    dmin_value = half_value(dmin)
    for j in range(SUB_BLOCKS):
        scale = _six_bits(to_scale * found[SCALE * WIDTH + lane + j])
        offset = _six_bits(to_offset * found[OFFSET * WIDTH + lane + j])
        _place(out, to + SCALES_AT, j, scale, offset)
        steps[j] = d_value * np.float32(scale)
        steps[SUB_BLOCKS + j] = dmin_value * np.float32(offset)


@njit(nogil=True, error_model="numpy")
def _six_bits(value: np.float32) -> np.int32:
    """Round, wrap to a byte as a C cast does, and cap."""
    return min(np.int32(LEVELS), nearest_int(value) & np.int32(0xFF))


@njit(nogil=True, error_model="numpy")
def _place(out: np.ndarray, at: int, j: int, scale: np.int32, offset: np.int32) -> None:
    """Put the pair of sub-block `j` into the 12 bytes: the last four are split over three."""
    if j < 4:
        out[at + j] = scale
        out[at + j + 4] = offset
    else:
        out[at + j + 4] = (scale & 0xF) | ((offset & 0xF) << 4)
        out[at + j - 4] |= (scale >> 4) << 6
        out[at + j] |= (offset >> 4) << 6


@njit(nogil=True, error_model="numpy")
def fill_integers(
    x: np.ndarray,
    at: int,
    found: np.ndarray,
    lane: int,
    steps: np.ndarray,
    top: int,
    integers: np.ndarray,
) -> None:
    """Round the 256 weights at `x[at:]` by the scales that were stored.

    Where the stored scale is 0 the integers of the search stay.
    """
    high = np.int32(top)
    low = np.int32(0)
    for j in range(SUB_BLOCKS):
        scale = steps[j]
        offset = steps[SUB_BLOCKS + j]
        place = j * LENGTH
        if scale == _ZERO:
            inverse = found[INVERSE * WIDTH + lane + j]
            start = found[START * WIDTH + lane + j]
            for i in range(LENGTH):
                q = nearest_int(inverse * (x[at + place + i] - start))
                integers[place + i] = max(low, min(high, q))
        else:
            for i in range(LENGTH):
                q = nearest_int((x[at + place + i] + offset) / scale)
                integers[place + i] = max(low, min(high, q))
