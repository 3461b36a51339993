"""The tensor types of GGUF that a mix can lead to, with their block sizes.

Numbers and sizes are facts of the file format: the same as in `gguf.GGMLQuantizationType` and
`gguf.GGML_QUANT_SIZES`. They stand here once more because the `gguf` package imports numpy, and
choosing types needs neither.
"""

from __future__ import annotations

from enum import IntEnum


class TensorType(IntEnum):
    """GGUF's number of a tensor type."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    IQ4_NL = 20
    IQ3_S = 21
    IQ4_XS = 23
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39
    Q1_0 = 41


BLOCKS: dict[TensorType, tuple[int, int]] = {
    TensorType.F32: (1, 4),
    TensorType.F16: (1, 2),
    TensorType.BF16: (1, 2),
    TensorType.Q4_0: (32, 18),
    TensorType.Q4_1: (32, 20),
    TensorType.Q5_0: (32, 22),
    TensorType.Q5_1: (32, 24),
    TensorType.Q8_0: (32, 34),
    TensorType.IQ4_NL: (32, 18),
    TensorType.MXFP4: (32, 17),
    TensorType.Q1_0: (128, 18),
    TensorType.Q2_K: (256, 84),
    TensorType.Q3_K: (256, 110),
    TensorType.Q4_K: (256, 144),
    TensorType.Q5_K: (256, 176),
    TensorType.Q6_K: (256, 210),
    TensorType.IQ3_S: (256, 110),
    TensorType.IQ4_XS: (256, 136),
    TensorType.TQ1_0: (256, 54),
    TensorType.TQ2_0: (256, 66),
}
"""Elements and bytes of one block."""

LARGEST_BLOCK = 256
"""No type groups more elements; a row that is a multiple of it never falls back."""


def block_elements(qtype: int) -> int:
    """Elements that share one block; a row must be a multiple of it."""
    return BLOCKS[TensorType(qtype)][0]


def block_bytes(qtype: int) -> int:
    """Bytes of one block."""
    return BLOCKS[TensorType(qtype)][1]
