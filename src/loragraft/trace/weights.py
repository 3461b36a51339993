"""How a stage's weights differ from base plus adapter: how often the adapter is in, and the rest.

The figures are those of :mod:`loragraft.export.effect`: k counts the adapter, the residual tells
the base. What they leave open, the order of query and key rows, is tried out here.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loragraft.checkpoint.gguf_file import GgufFile
from loragraft.export.architectures import permute_rows
from loragraft.export.effect import SEED, EffectTarget
from loragraft.export.effect_gates import WRONG_BASE, residual_limit
from loragraft.export.prepare import Layout
from loragraft.export.targets import effect_targets

SAMPLED_ROWS = 32
"""Rows of each tensor: 200 tensors of 2,000 values a row are 13 M values, a second's reading."""
SAMPLED_VALUES = 1 << 18
ROUNDED = "BF16"
"""Checkpoints are merged and stored in this type as a rule: no stage is held to less."""
LEAST = residual_limit(ROUNDED)
ORDERS_ALIKE = 0.5
"""A residual below this fraction of :data:`WRONG_BASE` under another order of the rows proves that
order: rows that do not belong together have about 1.4, quantized ones at most 0.33 (Q2_K)."""

TIED = frozenset({"output.weight"})
"""Some converters write a tied model's output matrix apart: a copy of the embedding."""
COMPUTED_ALIKE = 1e-4
"""Relative: computed tensors are stored in float32 everywhere."""

Rows = Callable[[str, NDArray[np.intp]], NDArray[np.float32]]
"""Reads rows of a tensor by its GGUF name."""


@dataclass(frozen=True)
class TensorWeights:
    """One tensor against base plus adapter.

    Attributes:
        name: GGUF name.
        type_name: Type of the stage's tensor.
        along: ``<D - Δ, Δ>``, with D the change found and Δ the adapter's.
        delta: ``|Δ|²``.
        noise: Variance of ``along`` as White's estimator has it.
        error: ``|D - Δ|²``.
        weight: ``|W_base|²``.
        finite: Whether every value is.
    """

    name: str
    type_name: str
    along: float
    delta: float
    noise: float
    error: float
    weight: float
    finite: bool

    @property
    def miss(self) -> float:
        """By how much k is off 1; 0 where the adapter does not change the tensor."""
        return self.along / self.delta if self.delta else 0.0

    @property
    def residual(self) -> float:
        """``|D - Δ| / |W|``: the distance to base and adapter, the adapter in once."""
        return self._share(self.error)

    @property
    def rest(self) -> float:
        """``|D - kΔ| / |W|``: what is left however often the adapter is in."""
        return self._share(self.error - self.miss * self.along)

    def _share(self, size: float) -> float:
        if not self.weight:
            return 0.0 if not size else math.inf
        return math.sqrt(max(size, 0.0) / self.weight)


@dataclass(frozen=True)
class WeightFacts:
    """All tensors of a stage against base plus adapter.

    Attributes:
        tensors: Each of them.
        absent: Names that the stage lacks or has in another shape.
        k: How often the adapter is in; None where there is none.
        k_error: Its standard error.
        orders: Query and key tensors whose rows stand in another order, and which.
        computed: Tensors that the converter computes from config.json (Llama 3's rope factors)
            and that are missing or other here.
        extra: Tensors that the layout has not, such as biases.
    """

    tensors: tuple[TensorWeights, ...]
    absent: tuple[str, ...]
    k: float | None
    k_error: float
    orders: Mapping[str, str]
    computed: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def off(self) -> list[TensorWeights]:
        """Tensors farther off than their type explains, those in another order left out."""
        return [
            t
            for t in self.tensors
            if t.name not in self.orders
            and (not t.finite or t.rest > max(residual_limit(t.type_name), LEAST))
        ]

    @property
    def unrelated(self) -> bool:
        """Whether most matrices have nothing to do with the base's."""
        matrices = [t for t in self.tensors if t.name not in self.orders and not _norm(t.name)]
        far = [t for t in matrices if t.residual > WRONG_BASE]
        return bool(matrices) and 2 * len(far) >= len(matrices)


def _norm(name: str) -> bool:
    return "norm" in name


def weigh_file(wanted: Layout, gguf: GgufFile) -> WeightFacts:
    """Compare sampled rows of a GGUF file with a layout's."""
    types = {name: tensor.type_name for name, tensor in gguf.tensors.items()}
    shapes = {name: (t.rows, t.row_length) for name, t in gguf.tensors.items()}
    return _weigh(wanted, gguf.rows, shapes, types)


def weigh_checkpoint(wanted: Layout, found: Layout) -> WeightFacts:
    """Compare sampled rows of a checkpoint with base plus adapter, in GGUF's order of rows."""
    source = found.stream_input("fp32")
    targets = {t.gguf_name: t for t in effect_targets(source, changed_only=False)}
    index = {item.gguf_name: item for item in found.sources}
    dtypes = {name: found.base.tensors[str(index[name].source)].dtype for name in targets}
    shapes = {name: (t.rows_total, index[name].shape[-1]) for name, t in targets.items()}
    made = {s.gguf_name: s.values for s in found.sources if s.values is not None}
    shapes |= {name: (1, values.size) for name, values in made.items()}

    def rows(name: str, wanted_rows: NDArray[np.intp]) -> NDArray[np.float32]:
        if name in made:
            return made[name].reshape(1, -1).astype(np.float32)
        return targets[name].base_rows(wanted_rows)

    return _weigh(wanted, rows, shapes, dtypes)


def _weigh(
    layout: Layout,
    rows: Rows,
    shapes: Mapping[str, tuple[int, int]],
    types: Mapping[str, str],
) -> WeightFacts:
    tensors: list[TensorWeights] = []
    absent: list[str] = []
    orders: dict[str, str] = {}
    for target in effect_targets(layout.stream_input("fp32"), changed_only=False):
        name = target.gguf_name
        sample = _sample(target, shapes.get(name))
        if sample is None:
            absent.append(name)
            continue
        found = rows(name, sample)
        if found.shape[1] != target.base_rows(sample[:1]).shape[1]:
            absent.append(name)
            continue
        measured = _compare(target, sample, sample, found, types[name])
        tensors.append(measured)
        if measured.residual > WRONG_BASE:
            order = _other_order(layout, target, sample, found, types[name])
            if order is not None:
                orders[name] = order
    counted = [t for t in tensors if t.name not in orders]
    k, error = _pool(counted)
    computed = tuple(_other_computed(layout, rows, shapes))
    known = {source.gguf_name for source in layout.sources} | TIED
    extra = tuple(name for name in shapes if name not in known)
    return WeightFacts(tuple(tensors), tuple(absent), k, error, orders, computed, extra)


def _other_computed(
    layout: Layout, rows: Rows, shapes: Mapping[str, tuple[int, int]]
) -> Iterator[str]:
    for source in layout.sources:
        if source.values is None:
            continue
        wanted, shape = source.values.reshape(-1), shapes.get(source.gguf_name)
        if shape is None or shape != (1, wanted.size):
            yield source.gguf_name
            continue
        found = rows(source.gguf_name, np.zeros(1, np.intp)).reshape(-1)
        if not np.allclose(found, wanted, rtol=COMPUTED_ALIKE):
            yield source.gguf_name


def _sample(target: EffectTarget, shape: tuple[int, int] | None) -> NDArray[np.intp] | None:
    """Return the rows to compare; None where the stage has no such tensor."""
    if shape is None or shape[0] != target.rows_total:
        return None
    choices = target.candidates
    if choices is None:
        choices = np.arange(target.rows_total, dtype=np.intp)
    count = min(len(choices), max(1, min(SAMPLED_ROWS, SAMPLED_VALUES // max(shape[1], 1))))
    generator = np.random.default_rng([SEED, zlib.crc32(target.gguf_name.encode())])
    return np.sort(generator.choice(choices, count, replace=False))


def _compare(
    target: EffectTarget,
    wanted: NDArray[np.intp],
    sample: NDArray[np.intp],
    found: NDArray[np.float32],
    type_name: str,
) -> TensorWeights:
    """Compare rows found with those of base plus adapter at ``wanted``."""
    base = target.base_rows(wanted).astype(np.float64)
    delta = target.delta_rows(wanted).astype(np.float64)
    finite = bool(np.isfinite(found).all())
    error = np.nan_to_num(found.astype(np.float64), posinf=0.0, neginf=0.0) - base - delta
    along, size = float((error * delta).sum()), float((delta * delta).sum())
    left = error - (along / size if size else 0.0) * delta
    return TensorWeights(
        target.gguf_name, type_name, along, size, float(((left * delta) ** 2).sum()),
        float((error * error).sum()), float((base * base).sum()), finite,
    )  # fmt: skip


def _pool(tensors: Sequence[TensorWeights]) -> tuple[float | None, float]:
    size = sum(t.delta for t in tensors)
    if not size:
        return None, math.inf
    return 1 + sum(t.along for t in tensors) / size, math.sqrt(sum(t.noise for t in tensors)) / size


def _other_order(
    layout: Layout,
    target: EffectTarget,
    sample: NDArray[np.intp],
    found: NDArray[np.float32],
    type_name: str,
) -> str | None:
    """Return the order in which a tensor's rows do fit, if it is query or key in another one."""
    source = next(s for s in layout.sources if s.gguf_name == target.gguf_name)
    heads = _heads(layout, target.gguf_name)
    if heads is None or len(source.shape) != 2 or target.candidates is not None:
        return None
    order = permute_rows(np.arange(target.rows_total, dtype=np.intp), heads)
    ways = {"permuted": order}
    if source.heads is not None:
        ways = {"not permuted": np.argsort(order), "permuted twice": order}
    for name, way in ways.items():
        moved = _compare(target, way[sample], sample, found, type_name)
        if moved.residual < ORDERS_ALIKE * WRONG_BASE:
            return name
    return None


def _heads(layout: Layout, name: str) -> int | None:
    settings = layout.family.settings(layout.base.config)
    if ".attn_q.weight" in name:
        return settings.heads
    return settings.heads_kv if ".attn_k.weight" in name else None
