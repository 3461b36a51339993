"""Q5_K: 256 weights in 176 bytes, eight sub-blocks of 32 with 6-bit scales and minima.

Layout of a block (ggml/src/ggml-common.h, `block_q5_K`): half d, half dmin, 12 bytes of packed
scales and minima, 32 bytes of fifth bits, 128 bytes of the lower four bits, two a byte.
"""

from __future__ import annotations

import numpy as np

from loragraft.export.quantize.lanes import WIDTH, jit, search_intrinsic
from loragraft.export.quantize.scale_min import LENGTH, Grid, emit_search
from loragraft.export.quantize.super_block import (
    BLOCK,
    SUB_BLOCKS,
    fill_integers,
    pack_scales,
)

BLOCK_BYTES = 176
FIFTH_BITS_AT = 16
INTEGERS_AT = 48
TOP = 31

# ggml tries 16 steps around 31 integers for this type.
_search = search_intrinsic(emit_search(Grid(top=TOP, first=-0.5, steps=15)))

_GROUP = WIDTH // SUB_BLOCKS


@jit
def encode_q5_k(x: np.ndarray, out: np.ndarray) -> None:
    """Encode finite `x` (float32 [blocks * 256]) into `out` (uint8 [blocks * 176])."""
    blocks = x.size // BLOCK
    found = np.empty(4 * WIDTH, np.float32)
    padded = np.zeros(WIDTH * LENGTH, np.float32)
    steps = np.empty(2 * SUB_BLOCKS, np.float32)
    integers = np.empty(BLOCK, np.uint8)
    for first in range(0, blocks, _GROUP):
        count = min(_GROUP, blocks - first)
        if count == _GROUP:
            _search(x, first * BLOCK, found)
        else:
            padded[: count * BLOCK] = x[first * BLOCK : (first + count) * BLOCK]
            _search(padded, 0, found)
        for block in range(count):
            to = (first + block) * BLOCK_BYTES
            lane = block * SUB_BLOCKS
            pack_scales(found, lane, out, to, steps)
            fill_integers(x, (first + block) * BLOCK, found, lane, steps, TOP, integers)
            for i in range(LENGTH):
                fifth = np.uint8(0)
                for j in range(SUB_BLOCKS):
                    fifth |= (integers[LENGTH * j + i] >> 4) << j
                out[to + FIFTH_BITS_AT + i] = fifth
            for pair in range(SUB_BLOCKS // 2):
                for i in range(LENGTH):
                    low = integers[2 * LENGTH * pair + i] & 0xF
                    high = integers[2 * LENGTH * pair + LENGTH + i] & 0xF
                    out[to + INTEGERS_AT + LENGTH * pair + i] = low | (high << 4)
