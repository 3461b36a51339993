"""Which kernel encodes which tensor type, and the one call that the exporter makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gguf import GGMLQuantizationType

from loragraft.export.quantize.floats import FLOAT_TYPES, encode_float, refuse_non_finite
from loragraft.export.quantize.ggml import Ggml, load_ggml, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

Preference = Literal["auto", "numba", "ggml"]


@dataclass(frozen=True)
class Kernels:
    """The chosen kernel of each tensor type. Safe to call from several threads at once."""

    ggml: Ggml
    reasons: Mapping[int, str]

    def quantize_into(self, qtype: int, x: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
        """Encode `x` (float32, [rows, n]) into `out` (uint8, [rows, row_bytes]).

        Raises:
            NonFiniteError: NaN or Inf in `x`, or a value too large for the type.
        """
        refuse_non_finite(x)
        if qtype in FLOAT_TYPES:
            encode_float(qtype, x, out)
            return
        self.ggml.quantize_into(qtype, x, out)

    def report(self) -> dict[str, str]:
        """Kernel and reason by type name, for the metadata."""
        return {type_name(qtype): reason for qtype, reason in self.reasons.items()}


def choose_kernels(elements: Mapping[int, int], *, prefer: Preference = "auto") -> Kernels:
    """Choose a kernel for each type of `elements` (tensor type → number of elements)."""
    del prefer
    ggml = load_ggml()
    reasons = {}
    for qtype in sorted(elements):
        if qtype in FLOAT_TYPES:
            reasons[qtype] = "numpy"
        else:
            ggml.prepare(qtype)
            reasons[qtype] = "ggml"
    return Kernels(ggml, reasons)


def dequantize_rows(qtype: int, data: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Decode rows (uint8, [rows, row_bytes]) to float32 [rows, n]."""
    from gguf.quants import dequantize

    return dequantize(data, GGMLQuantizationType(qtype))
