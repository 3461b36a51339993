"""The quantization mixes that need no importance matrix, and why the others are refused.

A mix names a recipe ("Q4_K_M"), not one tensor type: some tensors get more bits than others.
Names, file-type numbers and which mixes need an importance matrix are facts read from
llama.cpp's `include/llama.h`, `src/llama-quant.cpp` and `tools/quantize/quantize.cpp`
(llama-cpp-python 0.3.36).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loragraft.errors import UnsupportedError
from loragraft.export.mix.tensor_types import TensorType


@dataclass(frozen=True)
class Mix:
    """One recipe.

    `ftype` is llama.cpp's file type, written as `general.file_type`; `base` the type most
    tensors get; `nominal_bits` the effective bits per weight on the shapes of Llama 3.1 8B, where
    no row is too short for its type (a test computes them again).
    """

    name: str
    ftype: int
    base: TensorType
    nominal_bits: float
    description: str

    @property
    def quantized(self) -> bool:
        """Whether weights are grouped into blocks, unlike F32, F16 and BF16."""
        return self.base not in (TensorType.F32, TensorType.F16, TensorType.BF16)


_T = TensorType

_ALL = (
    Mix("F32", 0, _T.F32, 32.0, "every weight in 32 bits"),
    Mix("F16", 1, _T.F16, 16.0, "matrices in IEEE half precision"),
    Mix("BF16", 32, _T.BF16, 16.0, "matrices in bfloat16"),
    Mix("Q8_0", 7, _T.Q8_0, 8.5, "8 bits, practically lossless"),
    Mix("Q6_K", 18, _T.Q6_K, 6.6, "6 bits"),
    Mix("Q5_K_M", 17, _T.Q5_K, 5.7, "5 bits, 6 for half of attn_v and ffn_down"),
    Mix("Q5_K_S", 16, _T.Q5_K, 5.6, "5 bits"),
    Mix("Q5_1", 9, _T.Q5_1, 6.0, "5 bits with an offset per block of 32, older format"),
    Mix("Q5_0", 8, _T.Q5_0, 5.6, "5 bits in blocks of 32, older format"),
    Mix("Q4_K_M", 15, _T.Q4_K, 4.9, "4 bits, 6 for half of attn_v and ffn_down: the usual choice"),
    Mix("Q4_K_S", 14, _T.Q4_K, 4.7, "4 bits, 5 in the first layers"),
    Mix("IQ4_NL", 25, _T.IQ4_NL, 4.7, "4 bits on a non-linear grid, blocks of 32"),
    Mix("IQ4_XS", 30, _T.IQ4_XS, 4.5, "4 bits on a non-linear grid, blocks of 256"),
    Mix("Q4_1", 3, _T.Q4_1, 5.1, "4 bits with an offset per block of 32, older format"),
    Mix("Q4_0", 2, _T.Q4_0, 4.6, "4 bits in blocks of 32, older format"),
    Mix("Q3_K_L", 13, _T.Q3_K, 4.3, "3 bits, 5 for attn_v, attn_output and ffn_down"),
    Mix("Q3_K_M", 12, _T.Q3_K, 4.0, "3 bits, 4 to 5 for attn_v, attn_output and ffn_down"),
    Mix("Q3_K_S", 11, _T.Q3_K, 3.6, "3 bits"),
    Mix("IQ3_M", 27, _T.IQ3_S, 3.8, "3 bits from a codebook, 4 for the sensitive tensors"),
    Mix("IQ3_S", 26, _T.IQ3_S, 3.7, "3 bits from a codebook"),
    Mix("Q2_K", 10, _T.Q2_K, 3.2, "2 bits, 3 to 4 for the sensitive tensors: a visible loss"),
    Mix("TQ2_0", 37, _T.TQ2_0, 2.5, "for models trained with ternary weights only"),
    Mix("TQ1_0", 36, _T.TQ1_0, 2.2, "for models trained with ternary weights only"),
    Mix("Q1_0", 40, _T.Q1_0, 1.5, "for models trained with binary weights only"),
    Mix("MXFP4_MOE", 38, _T.MXFP4, 8.5, "MXFP4 experts; a model without experts becomes Q8_0"),
)

MIXES: Mapping[str, Mix] = MappingProxyType({mix.name: mix for mix in _ALL})
"""Every mix there is, by its name in capitals."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
)
"""Short names that llama.cpp takes too."""

NEEDS_IMPORTANCE_MATRIX: Mapping[str, str] = MappingProxyType(
    {
        "IQ1_S": "most of its matrices are IQ1_S",
        "IQ1_M": "most of its matrices are IQ1_M",
        "IQ2_XXS": "most of its matrices are IQ2_XXS",
        "IQ2_XS": "most of its matrices are IQ2_XS",
        "IQ2_S": "most of its matrices are IQ2_XS",
        "IQ2_M": "most of its matrices are IQ2_S",
        "IQ3_XXS": "most of its matrices are IQ3_XXS",
        "IQ3_XS": "its attn_q and attn_k are IQ3_XXS",
        "Q2_K_S": "llama.cpp takes Q2_K in this mix only with one",
    }
)
"""Mixes that llama.cpp refuses without an importance matrix, each with what makes it so."""

_UNREADABLE = {"Q2_0": "the gguf package cannot write or read back its tensor type yet"}


def find_mix(name: str) -> Mix:
    """Look a mix up, capitals or not.

    Raises:
        UnsupportedError: no such mix, or one that cannot be made without an importance matrix.
    """
    key = name.strip().upper()
    mix = MIXES.get(ALIASES.get(key, key))
    if mix is not None:
        return mix
    raise UnsupportedError(f"{_why_not(name, key)} Choose one of: {', '.join(MIXES)}.")


def _why_not(name: str, key: str) -> str:
    if key in NEEDS_IMPORTANCE_MATRIX:
        return (
            f"The quantization mix {key} needs an importance matrix "
            f"({NEEDS_IMPORTANCE_MATRIX[key]}), which loragraft does not compute: without one so "
            "few bits give garbage, and llama.cpp refuses it."
        )
    if key in _UNREADABLE:
        return f"The quantization mix {key} is not offered: {_UNREADABLE[key]}."
    return f"There is no quantization mix {name!r}."
