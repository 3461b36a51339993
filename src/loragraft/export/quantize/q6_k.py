"""Q6_K: 256 weights in 210 bytes, sixteen sub-blocks of 16 with 8-bit signed scales.

Layout of a block (ggml/src/ggml-common.h, `block_q6_K`): 128 bytes of the lower four bits, 64
bytes of the upper two, 16 scales (int8), half d.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from loragraft.export.quantize.lanes import (
    WIDTH,
    half_bits,
    half_value,
    jit,
    nearest_int,
    search_intrinsic,
)
from loragraft.export.quantize.signed_scale import (
    HIGHEST,
    INVERSE,
    LENGTH,
    LOWEST,
    SCALE,
    TINY,
    emit_search,
)

BLOCK = 256
BLOCK_BYTES = 210
SUB_BLOCKS = BLOCK // LENGTH
UPPER_AT = 128
SCALES_AT = 192
D_AT = 208

# Half of a block; the two halves are packed one after the other.
HALF = 128
QUARTER = 32

_search = search_intrinsic(emit_search)

_ZERO = np.float32(0.0)
_TINY = np.float32(TINY)
_LOW = np.int32(LOWEST)
_HIGH = np.int32(HIGHEST)
_LOWEST_SCALE = np.float32(-128.0)
_HIGHEST_SCALE = np.int32(127)


@jit
def encode_q6_k(x: np.ndarray, out: np.ndarray) -> None:
    """Encode finite `x` (float32 [blocks * 256]) into `out` (uint8 [blocks * 210])."""
    found = np.empty(2 * WIDTH, np.float32)
    scales = np.empty(SUB_BLOCKS, np.float32)
    inverses = np.empty(SUB_BLOCKS, np.float32)
    integers = np.empty(BLOCK, np.uint8)
    for block in range(x.size // BLOCK):
        at = block * BLOCK
        to = block * BLOCK_BYTES
        for first in range(0, SUB_BLOCKS, WIDTH):
            _search(x, at + first * LENGTH, found)
            for lane in range(WIDTH):
                scales[first + lane] = found[SCALE * WIDTH + lane]
                inverses[first + lane] = found[INVERSE * WIDTH + lane]
        if _store_scales(scales, out, to):
            _fill_integers(x, at, scales, inverses, integers)
            _pack_integers(integers, out, to)
        else:
            for i in range(BLOCK_BYTES):
                out[to + i] = 0


@njit(nogil=True, error_model="numpy")
def _store_scales(scales: np.ndarray, out: np.ndarray, to: int) -> bool:
    """Write d and the sixteen scales, and replace `scales` by what a reader will use.

    Returns False, and writes nothing, where the whole block counts as zero.
    """
    extreme = _ZERO
    magnitude = _ZERO
    for j in range(SUB_BLOCKS):
        if abs(scales[j]) > magnitude:
            magnitude = abs(scales[j])
            extreme = scales[j]
    if magnitude < _TINY:
        return False
    inverse = _LOWEST_SCALE / extreme
    d = half_bits(np.float32(1.0) / inverse)
    out[to + D_AT] = d & 0xFF
    out[to + D_AT + 1] = d >> 8
    d_value = half_value(d)
    for j in range(SUB_BLOCKS):
        scale = np.int8(min(_HIGHEST_SCALE, nearest_int(inverse * scales[j])))
        out[to + SCALES_AT + j] = np.uint8(scale)
        scales[j] = d_value * np.float32(scale)
    return True


@njit(nogil=True, error_model="numpy")
def _fill_integers(
    x: np.ndarray, at: int, scales: np.ndarray, inverses: np.ndarray, integers: np.ndarray
) -> None:
    """Round the 256 weights at `x[at:]`, shifted to 0..63, by the scales that were stored.

    Where the stored scale is 0 the integers of the search stay; a zero sub-block has zeros.
    """
    for j in range(SUB_BLOCKS):
        place = j * LENGTH
        scale = scales[j]
        inverse = inverses[j]
        if scale != _ZERO:
            for i in range(LENGTH):
                q = nearest_int(x[at + place + i] / scale)
                integers[place + i] = max(_LOW, min(_HIGH, q)) - _LOW
        elif inverse != _ZERO:
            for i in range(LENGTH):
                q = nearest_int(inverse * x[at + place + i])
                integers[place + i] = max(_LOW, min(_HIGH, q)) - _LOW
        else:
            for i in range(LENGTH):
                integers[place + i] = 0


@njit(nogil=True, error_model="numpy")
def _pack_integers(integers: np.ndarray, out: np.ndarray, to: int) -> None:
    """Spread six bits an integer over the lower and the upper parts."""
    for half in range(2):
        start = half * HALF
        low_at = to + half * 2 * QUARTER
        high_at = to + UPPER_AT + half * QUARTER
        for i in range(QUARTER):
            a = integers[start + i]
            b = integers[start + QUARTER + i]
            c = integers[start + 2 * QUARTER + i]
            d = integers[start + 3 * QUARTER + i]
            out[low_at + i] = (a & 0xF) | ((c & 0xF) << 4)
            out[low_at + QUARTER + i] = (b & 0xF) | ((d & 0xF) << 4)
            out[high_at + i] = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((d >> 4) << 6)
