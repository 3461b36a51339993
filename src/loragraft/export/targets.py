"""The tensors of an export that adapters change, as the effect measurement reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loragraft.export.blocks import TensorRows, change_name
from loragraft.export.delta import TensorChange, TokenRowsTerm
from loragraft.export.effect import EffectTarget, RowReader
from loragraft.export.stream import StreamInput


class _Reader:
    """Opens one tensor at a time: its adapter matrices are freed when the next is asked for."""

    def __init__(self, source: StreamInput) -> None:
        # Reading back is always against the exact sum: rounding is part of what is measured.
        self._source = replace(source, precision="fp32")
        self._index = -1
        self._rows: TensorRows | None = None

    def open(self, index: int) -> TensorRows:
        if self._rows is None or self._index != index:
            self._rows, self._index = None, index
            self._rows = self._source.open(index)
        return self._rows

    def base(self, index: int) -> RowReader:
        return lambda rows: self.open(index).base_rows(rows)

    def delta(self, index: int) -> RowReader:
        def read(rows: NDArray[np.intp]) -> NDArray[np.float32]:
            tensor = self.open(index)
            return tensor.merged_rows(rows) - tensor.base_rows(rows)

        return read


def effect_targets(source: StreamInput, *, changed_only: bool = True) -> list[EffectTarget]:
    """List what to read back of an export.

    Args:
        source: What was streamed.
        changed_only: Only tensors that adapters change; otherwise every one the base holds.
    """
    reader = _Reader(source)
    targets: list[EffectTarget] = []
    for index, item in enumerate(source.sources):
        name = change_name(item)
        change = source.changes.by_tensor.get(name) if name is not None else None
        if item.source is None or (changed_only and change is None):
            continue
        total = item.shape[0] if len(item.shape) > 1 else 1
        known = source.base.tensors[item.source].shape
        if len(item.shape) == 1 and known != item.shape:
            continue
        targets.append(
            EffectTarget(
                item.gguf_name,
                total,
                reader.base(index),
                reader.delta(index),
                _candidates(change, total, known),
            )
        )
    return targets


def _candidates(
    change: TensorChange | None, total: int, known: Sequence[int]
) -> NDArray[np.intp] | None:
    """Rows worth sampling: those trained where only some are, those the base has where it grew."""
    if change is not None and change.origin is None:
        terms = [make() for make in change.terms] if len(known) > 1 else []
        rows = [term.indices for term in terms if isinstance(term, TokenRowsTerm)]
        if rows and len(rows) == len(terms):
            return np.unique(np.concatenate(rows)).astype(np.intp)
    if len(known) > 1 and known[0] < total:
        return np.arange(known[0], dtype=np.intp)
    return None
