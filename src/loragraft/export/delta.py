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

from loragraft.adapter.declared import EMBEDDING_LAYERS
from loragraft.adapter.grouping import LoraModule, TokenRows
from loragraft.adapter.reader import Adapter
from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import AdapterError

Precision = Literal["fp32", "reference"]
FloatArray = NDArray[np.float32]

HEAD_NAME = "lm_head.weight"
"""The output head's name in every supported architecture, tied or not."""

_COMPARED_ROWS = 1024
"""Rows of two matrices compared at a time: some MiB of each."""
_ROUNDING = 2.0**-8
"""Twice the relative error of bfloat16: a copy may be saved in another format than the base's."""
_SUBNORMAL = 2.0**-24
"""The smallest float16; below it only the absolute error is bounded."""


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
        """Let a saved module take the place of a tensor that nothing has changed yet."""
        if tensor in self.by_tensor:
            raise AssertionError(f"{tensor} is changed already")
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


@dataclass(frozen=True)
class _Laying:
    """One adapter being laid over a base and the changes of those before it.

    Attributes:
        changes: What grows.
        adapter: The adapter.
        base: The base.
        found: The base tensor of each of the adapter's parts.
        aliases: Tensors that the base holds under another name.
    """

    changes: Changes
    adapter: Adapter
    base: Checkpoint
    found: Mapping[str, str]
    aliases: Mapping[str, str]

    def origin(self, tensor: str) -> Origin:
        """Return what stands in a tensor's place so far, before any term."""
        change = self.changes.by_tensor.get(tensor)
        if change is not None and change.origin is not None:
            return change.origin()
        return self.own(tensor)

    def own(self, tensor: str) -> Origin:
        """Return the base's own tensor."""
        name = self.aliases.get(tensor, tensor)
        return Origin(partial(self.base.rows, name), self.base.tensors[name].shape)

    def require_shape(self, part: str, tensor: str, expected: tuple[int, ...]) -> None:
        """Refuse a part that is made for another shape than what it lands on.

        Raises:
            AdapterError: If the shapes differ.
        """
        shape = self.origin(tensor).shape
        if shape != expected:
            raise AdapterError(
                f"{self.adapter.path}: {part} is made for a weight of shape {list(expected)}, but "
                f"{tensor} of {self.base.folder} has {list(shape)}{self._by_another(tensor)}. This "
                "adapter belongs to another base."
            )

    def _by_another(self, tensor: str) -> str:
        change = self.changes.by_tensor.get(tensor)
        saved = change is not None and change.origin is not None
        return " after an adapter before it" if saved else ""

    def replace(self, tensor: str, key: str) -> None:
        """Let a tensor that the adapter saved whole take the base's place.

        Raises:
            AdapterError: If that erases what an adapter before it did, or no vocabulary is that.
        """
        origin = saved_origin(self.adapter, key)
        known = self.own(tensor).shape
        is_vocabulary = tensor.removesuffix(".weight").rpartition(".")[2] in EMBEDDING_LAYERS
        if not (is_vocabulary and len(origin.shape) == 2 and origin.shape[1:] == known[1:]):
            self.require_shape(f"the saved {tensor}", tensor, origin.shape)
        change = self.changes.by_tensor.get(tensor)
        if change is None:
            self.changes.replace(tensor, lambda: origin)
        elif change.terms or not same_values(origin, self.origin(tensor)):
            raise self._erases(tensor)

    def put_under(self, tensor: str, key: str) -> None:
        """Take the matrix under an adapted embedding for the base's, as PEFT does on loading.

        Raises:
            AdapterError: If adapters before it changed another one.
        """
        origin = saved_origin(self.adapter, key)
        if tensor not in self.changes.by_tensor:
            self.changes.replace(tensor, lambda: origin)
        elif not same_values(origin, self.origin(tensor)):
            raise self._erases(tensor)

    def _erases(self, tensor: str) -> AdapterError:
        return AdapterError(
            f"{self.adapter.path} brings {tensor} whole, which would erase what an adapter before "
            "it changes there. Give it first, or merge only one of them."
        )


def same_values(left: Origin, right: Origin) -> bool:
    """Say whether two tensors are the same but for the rounding of their formats."""
    if left.shape != right.shape:
        return False
    for start in range(0, left.shape[0], _COMPARED_ROWS):
        stop = min(start + _COMPARED_ROWS, left.shape[0])
        a, b = left.read(start, stop), right.read(start, stop)
        if not (np.abs(a - b) <= _ROUNDING * np.abs(b) + _SUBNORMAL).all():
            return False
    return True


def _lora_changes(laying: _Laying, factor: float) -> None:
    changes, adapter, base = laying.changes, laying.adapter, laying.base
    for name, module in adapter.modules.items():
        tensor = laying.found[name]
        expected = (module.out_features, module.in_features)
        expected = expected[::-1] if module.kind == "embedding" else expected
        laying.require_shape(module.name, tensor, expected)
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
        laying = _Laying(changes, adapter, base, found, aliases or {})
        if factor != 1.0 and (adapter.saved or adapter.token_rows or adapter.biases):
            raise AdapterError(
                f"{adapter.path} replaces whole tensors (modules_to_save, token rows or biases), "
                f"which cannot be scaled by {factor}. Leave its --scale at 1."
            )
        for name, key in adapter.saved.items():
            laying.replace(found[name], key)
        for name, key in adapter.frozen.items():
            module = name.removesuffix(".weight")
            laying.put_under(found.get(module) or found[name], key)
        for name, key in adapter.biases.items():
            laying.require_shape(name, found[name], adapter.tensors[key].shape)
            changes.add_term(found[name], partial(bias_term, adapter, key, 1.0, replaces=True))
        _lora_changes(laying, factor)
        for name, rows in adapter.token_rows.items():
            _token_changes(laying, found[f"{name}.weight"], rows)
    return changes


def _token_changes(laying: _Laying, tensor: str, rows: TokenRows) -> None:
    count, width = laying.origin(tensor).shape
    if rows.width != width or max(rows.indices) >= count:
        raise AdapterError(
            f"{laying.adapter.path} trained rows up to token {max(rows.indices)}, {rows.width} "
            f"wide, but {tensor} of {laying.base.folder} has {count} rows of {width}. This adapter "
            "belongs to another base."
        )
    laying.changes.add_term(tensor, partial(token_rows_term, laying.adapter, rows))
