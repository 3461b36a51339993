"""How much of the adapter is in a finished GGUF, and whether the rest is the right base.

With ``D = W_gguf - W_base`` over sampled rows and ``Δ`` the change that the adapters ask for:

- ``k = <D, Δ> / <Δ, Δ>``: 1 where the adapter is merged once, 0 where not, 2 where twice.
- ``residual = |D - Δ| / |W_base|``: what quantization left, about √2 for another base.

Quantization noise is nearly independent of Δ unless the base itself lies on a coarse grid (it was
once quantized): rounding then swallows changes below half a step, and k falls although the merge
is right. So a few rows are quantized again from ``W + Δ``: equal bytes tell the two apart.

Quantization noise being independent otherwise, k's standard error follows from it (White's
heteroscedasticity-consistent estimator: H. White, Econometrica 48, 1980). Tensors are pooled by
adding up their sums, and rows are sampled until the error is small enough or the budget is spent.
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.errors import BundleError
from loragraft.export.quantize.ggml import load_ggml

SEED = 20251101
ROWS_PER_ROUND = 16
"""Rows of each tensor in the first round; every further round doubles what was read."""
ROUND_ELEMENTS = 1 << 18
"""Values of one tensor in the first round at most (1 MiB): rows of a vocabulary may be long."""
BUDGET_ELEMENTS = 24 << 20
"""Values read in all: decoding runs at about 70 M values a second, so well below a second."""
TARGET_ERROR = 0.01
"""Sampling ends when k is known this well: a fifth of the accepted band."""

COMPARED_ROWS = 4
"""Rows of each tensor that are quantized again; one block would nearly do."""
SAME_BYTES = 0.98
"""Share of equal bytes that proves base plus adapter: builds of ggml differ in a few at most."""
REENCODED = frozenset({
    "Q8_0", "Q6_K", "Q5_K", "Q5_0", "Q5_1", "Q4_K", "Q4_0", "Q4_1", "IQ4_NL", "IQ4_XS",
    "Q3_K", "Q2_K",
})  # fmt: skip
"""Types in which k may be lost to rounding, and that ggml encodes."""

RowReader = Callable[[NDArray[np.intp]], NDArray[np.float32]]


@dataclass(frozen=True)
class EffectTarget:
    """One tensor that adapters change.

    Attributes:
        gguf_name: Its name in the GGUF file.
        rows_total: Its rows (a vector is one row).
        base_rows: The base's rows by GGUF row number, float32, as exported without adapters.
        delta_rows: The change that the adapters ask for, for the same rows.
        candidates: Rows that may be sampled, where the adapters change only some.
    """

    gguf_name: str
    rows_total: int
    base_rows: RowReader
    delta_rows: RowReader
    candidates: NDArray[np.intp] | None = None


@dataclass
class _Sums:
    """Sums over sampled values, in float64; ``e`` is ``D - Δ``."""

    count: int = 0
    ed: float = 0.0  # Σ e·Δ
    dd: float = 0.0  # Σ Δ²
    ee: float = 0.0  # Σ e²
    ww: float = 0.0  # Σ W²
    e2d2: float = 0.0  # Σ e²·Δ²
    ed3: float = 0.0  # Σ e·Δ³
    d4: float = 0.0  # Σ Δ⁴
    broken: int = 0

    def add(self, found: NDArray[Any], base: NDArray[Any], delta: NDArray[Any]) -> None:
        finite = np.isfinite(found)
        self.broken += int(found.size - finite.sum())
        weight, change = base.astype(np.float64), delta.astype(np.float64)
        with np.errstate(invalid="ignore"):
            error = np.where(finite, found.astype(np.float64) - weight - change, 0.0)
        product = error * change
        self.count += found.size
        self.ed += float(product.sum())
        self.dd += float((change * change).sum())
        self.ee += float((error * error).sum())
        self.ww += float((weight * weight).sum())
        self.e2d2 += float((product * product).sum())
        self.ed3 += float((product * change * change).sum())
        self.d4 += float((change**4).sum())

    def merge(self, other: _Sums) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def k(self) -> float | None:
        return None if self.dd == 0 else 1.0 + self.ed / self.dd

    @property
    def standard_error(self) -> float:
        if self.dd == 0:
            return math.inf
        miss = self.ed / self.dd  # k - 1: the remainder is e - (k-1)·Δ
        variance = self.e2d2 - 2 * miss * self.ed3 + miss * miss * self.d4
        return math.sqrt(max(variance, 0.0)) / self.dd

    @property
    def residual(self) -> float:
        if self.ww == 0:
            return 0.0 if self.ee == 0 else math.inf
        return math.sqrt(self.ee / self.ww)


@dataclass(frozen=True)
class TensorEffect:
    """What was measured of one tensor, or of several pooled.

    Attributes:
        name: GGUF name, or the type's name for a pool.
        type_name: Tensor type.
        k: None where the adapters change none of the sampled rows.
        standard_error: Of k; infinite where k is None.
        residual: ``|D - Δ| / |W_base|``.
        delta: ``|Δ| / |W_base|``.
        values: How many values were compared.
        broken: How many of them were NaN or infinite in the file.
        same_as_merged: Share of bytes that quantizing base plus change again gives as well; None
            where the type has no such encoder.
    """

    name: str
    type_name: str
    k: float | None
    standard_error: float
    residual: float
    delta: float
    values: int
    broken: int
    same_as_merged: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Effect:
    """What was measured of a file: all pooled, by type and by tensor."""

    pooled: TensorEffect
    by_type: tuple[TensorEffect, ...]
    tensors: tuple[TensorEffect, ...]
    seed: int = field(default=SEED)

    @property
    def k(self) -> float | None:
        """How often the adapters are in the file."""
        return self.pooled.k

    @property
    def standard_error(self) -> float:
        """Standard error of k."""
        return self.pooled.standard_error

    @property
    def proven_by_bytes(self) -> bool:
        """Whether every tensor's sampled bytes are those of base plus change, quantized."""
        shares = [tensor.same_as_merged for tensor in self.tensors]
        return bool(shares) and all(s is not None and s >= SAME_BYTES for s in shares)

    @property
    def residual(self) -> float:
        """Relative distance to what was asked for."""
        return self.pooled.residual

    def to_json(self) -> dict[str, Any]:
        """Return pool and types, and the tensor farthest off in each sense."""
        return {
            **self.pooled.to_json(),
            "tensors": len(self.tensors),
            "seed": self.seed,
            "by_type": [item.to_json() for item in self.by_type],
        }


class _Sampler:
    """One target's rows in a seeded order, read in rounds."""

    def __init__(self, target: EffectTarget, file: GgufFile, seed: int) -> None:
        self.target = target
        self.tensor = file.tensor(target.gguf_name)
        if self.tensor.rows != target.rows_total:
            raise BundleError(
                f"{file.path}: {target.gguf_name} has {self.tensor.rows} rows, expected "
                f"{target.rows_total}: it was not made from this base and these adapters."
            )
        rows = target.candidates
        choices = np.arange(target.rows_total, dtype=np.intp) if rows is None else rows
        generator = np.random.default_rng([seed, zlib.crc32(target.gguf_name.encode())])
        self._order = generator.permutation(choices)
        self._file = file
        self._read = 0
        self._batch = max(1, min(ROWS_PER_ROUND, ROUND_ELEMENTS // self.tensor.row_length))
        self.sums = _Sums()

    @property
    def next_elements(self) -> int:
        """Values that the next round will read."""
        left = len(self._order) - self._read
        return min(self._batch, left) * self.tensor.row_length

    def read(self) -> None:
        """Read one round and double the next."""
        rows = np.sort(self._order[self._read : self._read + self._batch])
        if not len(rows):
            return
        self._read += len(rows)
        self._batch = self._read
        found = self._file.rows(self.target.gguf_name, rows)
        base = self.target.base_rows(rows)
        if found.shape != base.shape:
            raise BundleError(
                f"{self._file.path}: rows of {self.target.gguf_name} have {found.shape[1]} values, "
                f"expected {base.shape[1]}: it was not made from this base and these adapters."
            )
        self.sums.add(found, base, self.target.delta_rows(rows))

    def result(self) -> TensorEffect:
        measured = _summary(self.tensor.name, self.tensor.type_name, self.sums)
        return replace(measured, same_as_merged=self._same_bytes())

    def _same_bytes(self) -> float | None:
        """Quantize a few rows of base plus change again and compare with the file's."""
        if self.tensor.type_name not in REENCODED:
            return None
        rows = np.sort(self._order[:COMPARED_ROWS])
        wanted = self.target.base_rows(rows) + self.target.delta_rows(rows)
        if not np.isfinite(wanted).all():
            return None
        again = load_ggml().quantize(self.tensor.qtype, np.ascontiguousarray(wanted, np.float32))
        return float((again == self._file.raw_rows(self.tensor.name, rows)).mean())


def _summary(name: str, type_name: str, sums: _Sums) -> TensorEffect:
    delta = math.sqrt(sums.dd / sums.ww) if sums.ww else 0.0
    return TensorEffect(
        name, type_name, sums.k, sums.standard_error, sums.residual, delta, sums.count, sums.broken
    )


def _pool(samplers: Sequence[_Sampler]) -> _Sums:
    total = _Sums()
    for sampler in samplers:
        total.merge(sampler.sums)
    return total


def measure_effect(gguf_path: Path, targets: Sequence[EffectTarget], seed: int = SEED) -> Effect:
    """Compare sampled rows of every target with the base and with the change asked for.

    Args:
        gguf_path: The finished file.
        targets: Every tensor that the adapters change.
        seed: Of the choice of rows.

    Raises:
        BundleError: If the file is broken, or lacks a target or has it in another shape.
    """
    with GgufFile(gguf_path) as file:
        samplers = [_Sampler(target, file, seed) for target in targets]
        spent = 0
        while True:
            coming = sum(sampler.next_elements for sampler in samplers)
            if coming == 0 or (spent and spent + coming > BUDGET_ELEMENTS):
                break
            for sampler in samplers:
                sampler.read()
            spent += coming
            if _pool(samplers).standard_error <= TARGET_ERROR:
                break
        return _collect(samplers, seed)


def _collect(samplers: Sequence[_Sampler], seed: int) -> Effect:
    groups: dict[str, list[_Sampler]] = defaultdict(list)
    for sampler in samplers:
        groups[sampler.tensor.type_name].append(sampler)
    by_type = tuple(_summary(name, name, _pool(group)) for name, group in sorted(groups.items()))
    types = "+".join(sorted(groups))
    pooled = _summary("all", types, _pool(samplers))
    return Effect(pooled, by_type, tuple(sampler.result() for sampler in samplers), seed)
