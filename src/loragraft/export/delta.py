"""What adapters do to the tensors of a base, computed row block by row block in float32.

LoRA (https://arxiv.org/abs/2106.09685) adds ``s · B · A`` to a weight ``W`` of shape
``[out, in]``; DoRA (https://arxiv.org/abs/2402.09353) then rescales each row to a learned
magnitude. Both are local to rows, so a block of rows needs only the same rows of ``W`` and ``B``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loragraft.adapter.grouping import LoraModule, TokenRows
from loragraft.adapter.reader import Adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError

Precision = Literal["fp32", "reference"]
FloatArray = NDArray[np.float32]

HEAD_NAME = "lm_head.weight"
"""The output head's name in every supported architecture, tied or not."""


@dataclass(frozen=True)
class LowRankTerm:
    """``scale · b @ a`` for a weight of shape ``[out, in]``, with DoRA's magnitudes if any.

    ``a`` is ``[r, in]``, ``b`` is ``[out, r]``, ``magnitude`` is ``[out]``. The weight of an
    embedding is ``[tokens, width]``: there PEFT's ``embedding_A.T`` plays ``b``.
    """

    a: FloatArray
    b: FloatArray
    scale: float
    magnitude: FloatArray | None = None

    def delta(self, rows: NDArray[np.intp] | slice) -> FloatArray:
        """Return the term's rows, shape ``[len(rows), in]``."""
        delta: FloatArray = self.b[rows] @ self.a
        delta *= np.float32(self.scale)
        return delta

    def apply(self, weight: FloatArray, rows: NDArray[np.intp] | slice) -> FloatArray:
        """Return ``weight`` (these rows of the base) with the term merged in."""
        delta = self.delta(rows)
        delta += weight
        if self.magnitude is not None:
            norm = np.linalg.norm(delta, axis=1)
            delta *= (self.magnitude[rows] / norm)[:, None]
        return delta


@dataclass(frozen=True)
class BiasTerm:
    """``scale · values`` added to a bias vector (``lora_bias``), or a bias that replaces it."""

    values: FloatArray
    scale: float
    replaces: bool


@dataclass(frozen=True)
class TokenRowsTerm:
    """Rows of an embedding that the adapter trained outright: they replace the base's."""

    indices: NDArray[np.int64]
    values: FloatArray


Term = LowRankTerm | BiasTerm | TokenRowsTerm


@dataclass(frozen=True)
class Origin:
    """Where a tensor's base rows come from: the checkpoint, or an adapter that saved it whole."""

    read: Callable[[int, int], FloatArray]
    shape: tuple[int, ...]
    replaced: bool = False


@dataclass(frozen=True)
class TensorChange:
    """All that a list of adapters does to one base tensor, in their order."""

    origin: Callable[[], Origin] | None = None
    terms: tuple[Callable[[], Term], ...] = ()


@dataclass
class Changes:
    """Every change, by the base tensor's name; built from adapters, read by the engine."""

    by_tensor: dict[str, TensorChange] = field(default_factory=dict)

    def add_term(self, tensor: str, term: Callable[[], Term]) -> None:
        """Append a term to a tensor's change."""
        change = self.by_tensor.get(tensor, TensorChange())
        self.by_tensor[tensor] = TensorChange(change.origin, (*change.terms, term))

    def replace(self, tensor: str, origin: Callable[[], Origin]) -> None:
        """Let a saved module take the tensor's place; earlier terms are gone with it."""
        self.by_tensor[tensor] = TensorChange(origin, ())


def low_rank_term(adapter: Adapter, module: LoraModule, factor: float) -> LowRankTerm:
    """Read one module's matrices (a few MiB) into a term; ``factor`` is the user's scale."""
    a, b = adapter.array(module.a_key), adapter.array(module.b_key)
    if module.kind == "embedding":
        a, b = np.ascontiguousarray(b.T), np.ascontiguousarray(a.T)
    magnitude = None
    if module.magnitude_key is not None:
        magnitude = adapter.array(module.magnitude_key).reshape(-1)
    return LowRankTerm(a, b, module.scaling * factor, magnitude)


def round_to_bf16(values: FloatArray) -> FloatArray:
    """Round finite float32 values to the nearest bfloat16, ties to even, in float32."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    result: FloatArray = (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    return result


class MergedTensor:
    """One base tensor with all its changes, readable by rows of the base's own order.

    The matrices of its terms are loaded when it is made and freed with it, so memory holds those
    of one tensor at a time.
    """

    def __init__(self, name: str, base: Checkpoint, change: TensorChange | None,
                 precision: Precision) -> None:  # fmt: skip
        """Load the terms of ``change`` (None: the base's own values pass through).

        ``name`` is the base tensor that is read.
        """
        self.name = name
        self._base = base
        change = change or TensorChange()
        if change.origin is not None:
            self.origin = change.origin()
        else:
            info = base.tensors[name]
            self.origin = Origin(lambda a, b: base.rows(name, a, b), info.shape)
        self.terms: list[Term] = [make() for make in change.terms]
        self.shape = self.origin.shape
        self._reference = precision == "reference"
        self.changed = bool(self.terms) or self.origin.replaced

    def base_rows(self, start: int, stop: int) -> FloatArray:
        """Return the base checkpoint's own rows, untouched by any adapter."""
        return self._base.rows(self.name, start, stop)

    def rows(self, start: int, stop: int) -> FloatArray:
        """Return merged rows ``start`` to ``stop`` as float32.

        With ``precision="reference"`` every step is rounded to bfloat16, as PEFT's
        ``merge_and_unload`` leaves a bfloat16 model: the sum is formed in float32 and rounded
        once per adapter.
        """
        values = self.origin.read(start, stop)
        if self._reference:
            values = round_to_bf16(values)
        for term in self.terms:
            values = self._apply(term, values, start, stop)
            if self._reference:
                values = round_to_bf16(values)
        return values

    def _apply(self, term: Term, values: FloatArray, start: int, stop: int) -> FloatArray:
        if isinstance(term, LowRankTerm):
            return term.apply(values, slice(start, stop))
        if isinstance(term, BiasTerm):
            part = term.values[start:stop] * np.float32(term.scale)
            summed: FloatArray = part if term.replaces else values + part
            return summed
        inside = (term.indices >= start) & (term.indices < stop)
        values[term.indices[inside] - start] = term.values[inside]
        return values


def _check_shape(
    adapter: Adapter, module: LoraModule, tensor: str, base: Checkpoint, aliases: Mapping[str, str]
) -> None:
    shape = base.tensors[aliases.get(tensor, tensor)].shape
    expected = (module.out_features, module.in_features)
    if module.kind == "embedding":
        expected = expected[::-1]
    if shape != expected:
        raise AdapterError(
            f"{adapter.path}: {module.name} is made for a weight of shape {list(expected)}, but "
            f"{tensor} of {base.folder} has {list(shape)}. This adapter belongs to another base."
        )


def _lora_changes(
    changes: Changes,
    adapter: Adapter,
    factor: float,
    base: Checkpoint,
    found: Mapping[str, str],
    aliases: Mapping[str, str],
) -> None:
    for name, module in adapter.modules.items():
        tensor = found[name]
        if tensor not in changes.by_tensor or changes.by_tensor[tensor].origin is None:
            _check_shape(adapter, module, tensor, base, aliases)
        changes.add_term(tensor, partial(low_rank_term, adapter, module, factor))
        if module.bias_key is not None:
            bias = tensor.removesuffix(".weight") + ".bias"
            if bias not in base.tensors:
                raise AdapterError(
                    f"{adapter.path} trained a bias for {name} (lora_bias), but {base.folder} has "
                    "no bias there; PEFT cannot merge this either. Serve the adapter unmerged."
                )
            scale = module.scaling * factor
            changes.add_term(
                bias, partial(bias_term, adapter, module.bias_key, scale, replaces=False)
            )


def saved_origin(adapter: Adapter, key: str) -> Origin:
    """Return a tensor that an adapter saved whole as the origin of the merged one."""
    return Origin(partial(adapter.rows, key), adapter.tensors[key].shape, replaced=True)


def bias_term(adapter: Adapter, key: str, scale: float, *, replaces: bool) -> BiasTerm:
    """Read a bias vector of an adapter into a term."""
    return BiasTerm(adapter.array(key).reshape(-1), scale, replaces)


def token_rows_term(adapter: Adapter, rows: TokenRows) -> TokenRowsTerm:
    """Read an adapter's trained rows of an embedding into a term."""
    return TokenRowsTerm(np.asarray(rows.indices, dtype=np.int64), adapter.array(rows.key))


def collect_changes(
    base: Checkpoint,
    adapters: Sequence[tuple[Adapter, float, Mapping[str, str]]],
    aliases: Mapping[str, str] | None = None,
) -> Changes:
    """Lay several adapters over a base, in order.

    Args:
        base: The checkpoint they change.
        adapters: Each adapter with the user's scale and the base tensor name of each of its
            modules, saved tensors, biases and token rows.
        aliases: Tensors that the base holds under another name (a tied lm_head).

    Raises:
        AdapterError: If a shape does not fit, or something cannot be merged.
    """
    changes = Changes()
    for adapter, factor, found in adapters:
        if factor != 1.0 and (adapter.saved or adapter.token_rows or adapter.biases):
            raise AdapterError(
                f"{adapter.path} replaces whole tensors (modules_to_save, token rows or biases), "
                f"which cannot be scaled by {factor}. Leave its --scale at 1."
            )
        for name, key in adapter.saved.items():
            changes.replace(found[name], partial(saved_origin, adapter, key))
        for name, key in adapter.biases.items():
            changes.add_term(found[name], partial(bias_term, adapter, key, 1.0, replaces=True))
        _lora_changes(changes, adapter, factor, base, found, aliases or {})
        for name, rows in adapter.token_rows.items():
            changes.add_term(found[f"{name}.weight"], partial(token_rows_term, adapter, rows))
    return changes
