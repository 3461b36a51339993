"""One pass over an adapter's values, in bounded memory: what is not finite, what is zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loragraft.adapter.grouping import LoraModule
from loragraft.adapter.reader import Adapter
from loragraft.checkpoint.safetensors import FLOAT_DTYPES

BLOCK_ELEMENTS = 1 << 20
"""Elements decoded at a time: 4 MiB of float32, and a Python loop that costs nothing beside it."""


@dataclass(frozen=True)
class ValueScan:
    """What a pass over all values found.

    Attributes:
        nonfinite: Keys with NaN or Inf, and how many elements of each.
        zero: Keys whose every element is zero.
    """

    nonfinite: dict[str, int]
    zero: frozenset[str]


def scan_values(adapter: Adapter) -> ValueScan:
    """Read every floating-point tensor once.

    Memory: one block of decoded values, or one row where a row is longer.
    """
    nonfinite: dict[str, int] = {}
    zero: set[str] = set()
    for key, info in adapter.tensors.items():
        if info.dtype not in FLOAT_DTYPES:
            continue
        bad, any_value = _scan(adapter, key)
        if bad:
            nonfinite[key] = bad
        if not any_value:
            zero.add(key)
        adapter.forget(key)
    return ValueScan(nonfinite, frozenset(zero))


def _scan(adapter: Adapter, key: str) -> tuple[int, bool]:
    """Return how many elements are not finite, and whether any is other than zero."""
    info = adapter.tensors[key]
    rows = info.shape[0] if info.shape else 1
    step = max(1, BLOCK_ELEMENTS * rows // max(info.size, 1))
    bad, any_value = 0, False
    with np.errstate(invalid="ignore", over="ignore"):  # signalling NaN; float64 beyond float32
        for start in range(0, rows, step):
            block = adapter.rows(key, start, min(rows, start + step))
            bad += block.size - int(np.count_nonzero(np.isfinite(block)))
            any_value = any_value or bool(block.any())
    return bad, any_value


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
