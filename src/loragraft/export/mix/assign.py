"""The type of every tensor of a model for a mix, with the reason where it is not the wanted one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from loragraft.errors import UnavailableError
from loragraft.export.mix.catalogue import Mix, find_mix
from loragraft.export.mix.oracle import types_by_llama
from loragraft.export.mix.rules import no_fallback, quantizable, types_by_rules
from loragraft.export.mix.specs import Assignment, ModelShape, TensorSpec, tensor_bytes
from loragraft.export.mix.tensor_types import (
    LARGEST_BLOCK,
    TensorType,
    block_elements,
)

Chooser = Callable[[ModelShape, Sequence[TensorSpec], Mix], Sequence[TensorType]]
SMALL_BLOCK = 32
"""The block length of every type that stands in for one with longer blocks."""


def assign_types(
    shape: ModelShape,
    tensors: Sequence[TensorSpec],
    mix: str,
    *,
    source: Literal["auto", "oracle", "rules"] = "auto",
) -> tuple[list[Assignment], str]:
    """Choose the type of every tensor as llama.cpp would, in the order of `tensors`.

    Args:
        shape: the model's hyper-parameters.
        tensors: all tensors of the model, F32 ones too: llama.cpp counts them by role.
        mix: a name out of `MIXES`, capitals or not.
        source: "oracle" asks llama.cpp, "rules" our own table, "auto" llama.cpp if it can be asked.

    Returns:
        The assignments, and who chose: "llama.cpp" or "rules".

    Raises:
        UnsupportedError: no such mix, or it has no type for a row of some length.
        UnavailableError: `source` is "oracle" and llama.cpp cannot be asked.
    """
    recipe = find_mix(mix)
    _refuse_unfit(tensors, recipe)
    if source != "rules":
        try:
            return _assign(shape, tensors, recipe, types_by_llama), "llama.cpp"
        except UnavailableError:
            if source == "oracle":
                raise
    return _assign(shape, tensors, recipe, types_by_rules), "rules"


def _refuse_unfit(tensors: Iterable[TensorSpec], mix: Mix) -> None:
    """Refuse rows that would make llama.cpp abort: the binary type has no fallback."""
    if mix.base is not TensorType.Q1_0:
        return
    for spec in tensors:
        if quantizable(spec) and spec.row_length % block_elements(mix.base) != 0:
            raise no_fallback(spec, mix.base)


def _assign(
    shape: ModelShape, tensors: Sequence[TensorSpec], mix: Mix, choose: Chooser
) -> list[Assignment]:
    types = choose(shape, tensors, mix)
    wanted = choose(shape, [_with_long_rows(spec) for spec in tensors], mix)
    return [
        Assignment(spec.name, int(got), int(ideal), _reason(spec, ideal, got))
        for spec, got, ideal in zip(tensors, types, wanted, strict=True)
    ]


def _with_long_rows(spec: TensorSpec) -> TensorSpec:
    """The same tensor with its rows lengthened until every type fits."""
    length = -(-spec.row_length // LARGEST_BLOCK) * LARGEST_BLOCK
    return replace(spec, shape=(*spec.shape[:-1], length))


def _reason(spec: TensorSpec, wanted: TensorType, got: TensorType) -> str | None:
    if got == wanted:
        return None
    block = block_elements(wanted)
    multiple = f"not a multiple of {block}"
    if got is TensorType.F16 and block > SMALL_BLOCK:
        multiple = f"a multiple of neither {block} nor {SMALL_BLOCK}"
    return f"row length {spec.row_length} is {multiple}: {wanted.name} → {got.name}"


def bits_per_weight(assignments: Sequence[Assignment], tensors: Sequence[TensorSpec]) -> float:
    """Bits of all tensor data over the number of all weights, F32 vectors included."""
    specs = {spec.name: spec for spec in tensors}
    weights = sum(specs[item.name].size for item in assignments)
    stored = sum(tensor_bytes(specs[item.name], item.qtype) for item in assignments)
    return 8 * stored / weights if weights else 0.0


def type_counts(assignments: Iterable[Assignment]) -> dict[str, int]:
    """How many tensors have which type, the most frequent first."""
    counts = Counter(TensorType(item.qtype).name for item in assignments)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def fallbacks(assignments: Iterable[Assignment]) -> dict[str, int]:
    """Every reason for a fallback with the number of tensors it hit, the most frequent first."""
    return dict(Counter(item.reason for item in assignments if item.reason).most_common())
