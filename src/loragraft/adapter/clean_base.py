"""Whether an adapter is in a base already: merged once, twice, or with another scaling.

With Δ = scaling · B·A over sampled rows of adapted weights, and X either the base W itself or its
difference to a clean base:

- ``k = ⟨X, Δ⟩ / ‖Δ‖²``. For the difference it counts how often the adapter is in: 0 where it is
  not, 1 where it was merged, 2 where twice. For W itself it is one higher than before the merge.
- ``spread``: the standard deviation of k when Δ is replaced by a random matrix of the same norm,
  B·A·D with random signs D on the inputs. Signs make the products of single inputs independent,
  so it is the root of the sum of their squares: no drawing is needed. What k itself explains is
  taken out first.

Rows are read in blocks, round by round, until the spread is small or the budget is spent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.grouping import LoraModule
from loragraft.adapter.match import ModuleMatch
from loragraft.adapter.reader import Adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.checkpoint.safetensors import FLOAT_DTYPES

SEED = 20251101
MAX_WEIGHTS = 64
"""Weights sampled at most: nine of each kind, and their factors are soon read."""
FIRST_ROWS = 8
"""Rows of each weight in the first round; every round doubles what was read."""
BUDGET_ELEMENTS = 24 << 20
"""Values read of each base: about 50 MB of BF16, and a second or two."""
USUAL_RANK = 16
"""Higher ranks cost more for each value, so that fewer are read."""
TARGET_SPREAD = 0.01
"""Sampling ends when k is known this well: a tenth of what is told apart."""
NEAR_SPREADS = 3.0
"""A weight's k is taken for 0 or 1 within so many spreads of its own."""

Floats = NDArray[np.float32]
Sums = NDArray[np.float64]
RowReader = Callable[[str, int, int], Floats]


@dataclass(frozen=True)
class Projection:
    """How much of an adapter is in the sampled rows of some weights.

    Attributes:
        k: ⟨X, Δ⟩ / ‖Δ‖².
        spread: Its standard deviation for a random Δ of the same norm.
        residual: ‖X - k·Δ‖ / ‖W‖.
        change: ‖Δ‖ / ‖W‖.
        each_k: The k of every weight.
        each_spread: The spread of every weight.
        values: How many values were read of each base.
    """

    k: float
    spread: float
    residual: float
    change: float
    each_k: tuple[float, ...]
    each_spread: tuple[float, ...]
    values: int

    def share_near(self, value: float) -> float:
        """Return the share of weights whose own k is a value, within its own spread."""
        pairs = zip(self.each_k, self.each_spread, strict=True)
        near = [abs(k - value) <= NEAR_SPREADS * spread for k, spread in pairs]
        return sum(near) / len(near)


class _Weight:
    """One adapted weight, and sums over the rows read so far."""

    def __init__(self, module: LoraModule, tensor: str, rows: int, inputs: int) -> None:
        self.module, self.tensor, self.rows, self.inputs = module, tensor, rows, inputs
        self.products: Sums = np.zeros(inputs)  # X∘Δ summed over rows
        self.norms: Sums = np.zeros(inputs)  # Δ∘Δ summed over rows
        self.xx = self.ww = 0.0
        self.read_rows = 0

    def delta(self, adapter: Adapter, first: int, stop: int) -> Floats:
        """Return some rows of Δ in the weight's own layout."""
        module = self.module
        if module.kind == "embedding" or module.fan_in_fan_out:
            rows, inside = adapter.array(module.a_key).T[first:stop], adapter.array(module.b_key).T
        elif adapter.location.format == "mlx":  # its factors lie the other way round
            rows, inside = adapter.array(module.b_key)[first:stop], adapter.array(module.a_key)
        else:
            rows, inside = adapter.rows(module.b_key, first, stop), adapter.array(module.a_key)
        for key in (module.a_key, module.b_key):
            adapter.forget(key)
        delta: Floats = (rows * np.float32(module.scaling)) @ inside
        return delta

    def add(self, x: Floats, w: Floats, delta: Floats) -> None:
        """Take some rows in."""
        self.products += (x * delta).sum(axis=0, dtype=np.float64)
        self.norms += (delta * delta).sum(axis=0, dtype=np.float64)
        self.xx += float((x * x).sum(dtype=np.float64))
        self.ww += float((w * w).sum(dtype=np.float64))


def project(
    adapter: Adapter, match: ModuleMatch, base: Checkpoint, clean: Checkpoint | None = None
) -> Projection | None:
    """Measure how much of an adapter is in a base, or in what a base has beyond a clean one.

    Args:
        adapter: The opened adapter.
        match: Where its modules land in the base.
        base: The base.
        clean: The base without any adapter, with the same tensors.

    Returns:
        None where no plain LoRA pair with finite values and an effect lands on a weight of both.
    """
    weights = _choose(adapter, match, base, clean)
    generator = np.random.default_rng(SEED)
    offsets = generator.random(len(weights))
    spent = 0
    while weights:
        coming = sum(_next_cost(weight) for weight in weights)
        if coming == 0 or (spent and spent + coming > BUDGET_ELEMENTS):
            break
        for weight, offset in zip(weights, offsets, strict=True):
            with np.errstate(all="ignore"):  # what overflows or is NaN is left out at the end
                _read(weight, float(offset), adapter, base, clean)
        spent += coming
        found = _summarise(weights)
        if found is None or found.spread <= TARGET_SPREAD:
            return found
    return _summarise(weights) if weights else None


def _choose(
    adapter: Adapter, match: ModuleMatch, base: Checkpoint, clean: Checkpoint | None
) -> list[_Weight]:
    """Return a seeded choice of the weights that plain pairs change."""
    fitting: list[_Weight] = []
    for name, tensor in match.tensors.items():
        module, info = adapter.modules[name], base.tensors[tensor]
        flipped = module.kind == "embedding" or module.fan_in_fan_out
        shape = (module.out_features, module.in_features)
        expected = shape[::-1] if flipped else shape
        others = [info] if clean is None else [info, clean.tensors.get(tensor)]
        if module.magnitude_key is not None or any(
            other is None or other.shape != expected or other.dtype not in FLOAT_DTYPES
            for other in others
        ):
            continue
        fitting.append(_Weight(module, tensor, *expected))
    order = np.random.default_rng(SEED).permutation(len(fitting))[:MAX_WEIGHTS]
    return [fitting[index] for index in sorted(order)]


def _next_rows(weight: _Weight) -> int:
    return min(max(FIRST_ROWS, weight.read_rows), weight.rows - weight.read_rows)


def _next_cost(weight: _Weight) -> int:
    return _next_rows(weight) * weight.inputs * max(weight.module.rank, USUAL_RANK) // USUAL_RANK


def _read(
    weight: _Weight, offset: float, adapter: Adapter, base: Checkpoint, clean: Checkpoint | None
) -> None:
    """Read a round of rows: neighbours, from a seeded place on, around the end of the weight."""
    count = _next_rows(weight)
    start = (int(offset * weight.rows) + weight.read_rows) % weight.rows
    weight.read_rows += count
    for first, stop in ((start, min(start + count, weight.rows)), (0, start + count - weight.rows)):
        if stop <= first:
            continue
        w = base.rows(weight.tensor, first, stop)
        x = w if clean is None else w - clean.rows(weight.tensor, first, stop)
        weight.add(x, w, weight.delta(adapter, first, stop))
    base.forget(weight.tensor)
    if clean is not None:
        clean.forget(weight.tensor)


def _summarise(weights: list[_Weight]) -> Projection | None:
    used = [w for w in weights if 0 < w.norms.sum() < math.inf and math.isfinite(w.xx + w.ww)]
    used = [w for w in used if np.isfinite(w.products).all()]
    if not used:
        return None
    dd = sum(float(w.norms.sum()) for w in used)
    k = sum(float(w.products.sum()) for w in used) / dd
    xx, ww = sum(w.xx for w in used), sum(w.ww for w in used)
    each = [float(w.products.sum() / w.norms.sum()) for w in used]
    rest = max(xx - k * k * dd, 0.0)
    return Projection(
        k=k,
        spread=math.sqrt(sum(_variance(w, k) for w in used)) / dd,
        residual=math.sqrt(rest / ww) if ww else 0.0,
        change=math.sqrt(dd / ww) if ww else math.inf,
        each_k=tuple(each),
        each_spread=tuple(
            math.sqrt(_variance(w, own)) / float(w.norms.sum())
            for w, own in zip(used, each, strict=True)
        ),
        values=sum(w.read_rows * w.inputs for w in used),
    )


def _variance(weight: _Weight, k: float) -> float:
    """Return the variance of ⟨X - k·Δ, Δ·D⟩ over random signs D of the inputs."""
    rest = weight.products - k * weight.norms
    return float(rest @ rest)
