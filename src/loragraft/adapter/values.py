"""One pass over an adapter's values, in bounded memory: what is not finite, what is zero.

A value's exponent says both, so F32, F16 and BF16 are judged by their bits, as they lie in the
file: nothing is decoded, and the disk is the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.grouping import LoraModule
from loragraft.adapter.reader import Adapter
from loragraft.checkpoint.safetensors import FLOAT_DTYPES, TensorInfo, decode_float32
from loragraft.errors import AdapterError

BLOCK_BYTES = 1 << 18
"""Read and judged at a time: it stays in the processor's second cache between the two."""


@dataclass(frozen=True)
class _Bits:
    """A floating-point type as integers: the type, all bits but the sign, and those of Inf."""

    dtype: np.dtype[np.unsignedinteger]
    magnitude: int
    infinity: int


_BITS: Mapping[str, _Bits] = {
    "BF16": _Bits(np.dtype("<u2"), 0x7FFF, 0x7F80),
    "F16": _Bits(np.dtype("<u2"), 0x7FFF, 0x7C00),
    "F32": _Bits(np.dtype("<u4"), 0x7FFFFFFF, 0x7F800000),
}
"""IEEE 754: magnitudes order as integers do, and from Inf on nothing is finite."""


@dataclass(frozen=True)
class ValueScan:
    """What a pass over all values found.

    Attributes:
        nonfinite: Keys with NaN or Inf, and how many elements of each.
        zero: Keys whose every element is zero.
    """

    nonfinite: dict[str, int]
    zero: frozenset[str]


def scan_values(adapter: Adapter, on_bytes: Callable[[int], object] | None = None) -> ValueScan:
    """Read every floating-point tensor once, in the file's order.

    Memory: one block.

    Args:
        adapter: The opened adapter.
        on_bytes: Called with the size of every tensor that was read.

    Raises:
        AdapterError: If the file became shorter since it was opened, or cannot be read.
    """
    nonfinite: dict[str, int] = {}
    zero: set[str] = set()
    block = np.empty(BLOCK_BYTES, np.uint8)
    floats = [info for info in adapter.tensors.values() if info.dtype in FLOAT_DTYPES]
    try:
        with adapter.path.open("rb", buffering=0) as file:
            for info in sorted(floats, key=lambda info: info.start):
                bad, any_value = _scan(file, info, block)
                if bad:
                    nonfinite[info.name] = bad
                if not any_value:
                    zero.add(info.name)
                if on_bytes is not None:
                    on_bytes(info.nbytes)
    except OSError as error:
        raise AdapterError(
            f"Cannot read {adapter.path}: {error.strerror or error}. Check the disk."
        ) from None
    return ValueScan(nonfinite, frozenset(zero))


def _scan(file: BinaryIO, info: TensorInfo, block: NDArray[np.uint8]) -> tuple[int, bool]:
    """Return how many elements are not finite, and whether any is other than zero."""
    judge = _judge_bits if info.dtype in _BITS else _judge_decoded
    file.seek(info.start)
    bad, any_value, left = 0, False, info.nbytes
    while left:
        part = block[: min(left, len(block))]
        _fill(file, part, info)
        left -= len(part)
        more, some = judge(part, info.dtype)
        bad, any_value = bad + more, any_value or some
    return bad, any_value


def _fill(file: BinaryIO, part: NDArray[np.uint8], info: TensorInfo) -> None:
    view, filled = part.data, 0
    while filled < len(view):
        count = file.readinto(view[filled:])  # type: ignore[attr-defined]  # a raw file has it
        if not count:
            raise AdapterError(
                f"The file ended inside {info.name!r} while it was read: it is being changed. "
                "Wait until it is complete and verify again."
            )
        filled += count


def _judge_bits(part: NDArray[np.uint8], dtype: str) -> tuple[int, bool]:
    """Judge a block by its bits; overwrites it."""
    bits = _BITS[dtype]
    values = part.view(bits.dtype)
    np.bitwise_and(values, bits.magnitude, out=values)
    largest = int(values.max())
    if largest < bits.infinity:
        return 0, largest > 0
    return int(np.count_nonzero(values >= bits.infinity)), True


def _judge_decoded(part: NDArray[np.uint8], dtype: str) -> tuple[int, bool]:
    """Judge a block of F64 as the float32 it becomes, in which it may overflow."""
    values = decode_float32(part.data, dtype)
    with np.errstate(invalid="ignore"):  # NaN that signals
        return values.size - int(np.count_nonzero(np.isfinite(values))), bool(values.any())


def without_effect(module: LoraModule, zero: frozenset[str]) -> bool:
    """Say whether a module changes nothing: a factor or the scaling is zero, and nothing else is.

    DoRA's magnitude and a bias of B can act alone, so a module with either counts as working
    unless its bias is zero as well.
    """
    if module.magnitude_key is not None:
        return False
    if module.bias_key is not None and module.bias_key not in zero and module.scaling != 0:
        return False
    return module.scaling == 0 or module.a_key in zero or module.b_key in zero
