"""One GGUF tensor as a sequence of row blocks, read from the base and merged on the way.

A block holds about :data:`BLOCK_ELEMENTS` values, so memory depends on the number of threads and
never on the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loragraft.checkpoint.model import Checkpoint
from loragraft.export.architectures import TensorSource, permute_rows
from loragraft.export.delta import HEAD_NAME, Changes, FloatArray, MergedTensor, Precision

BLOCK_ELEMENTS = 1 << 20
"""Values in a block: 4 MiB as float32. Large enough that a block's fixed cost (about 0.1 ms)
vanishes beside 5 ms of encoding, small enough that a handful of blocks stays under 100 MiB."""


@dataclass(frozen=True)
class RowBlock:
    """Rows ``start`` to ``stop`` of a tensor, in GGUF order."""

    start: int
    stop: int


def change_name(source: TensorSource) -> str:
    """Return the name under which adapters change a tensor.

    An untied head may read the embedding's rows, but only a change of ``lm_head`` lands on it.
    """
    if source.gguf_name == "output.weight":
        return HEAD_NAME
    return source.source or ""


class TensorRows:
    """The rows of one GGUF tensor, merged, permuted and shifted as the architecture asks."""

    def __init__(self, source: TensorSource, base: Checkpoint, changes: Changes,
                 precision: Precision) -> None:  # fmt: skip
        """Open the tensor; its adapter matrices are in memory until it is dropped."""
        self.source = source
        self.shape = source.shape
        self._merged: MergedTensor | None = None
        self._order: NDArray[np.intp] | None = None  # of the checkpoint's rows, where it differs
        if source.heads is not None:
            self._order = permute_rows(np.arange(self.shape[0], dtype=np.intp), source.heads)
        if source.source is not None:
            change = changes.by_tensor.get(change_name(source))
            self._merged = MergedTensor(source.source, base, change, precision)

    @property
    def total_rows(self) -> int:
        """Rows as they are quantized: a vector counts as one row."""
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def row_length(self) -> int:
        """Values in a row."""
        return self.shape[-1]

    @property
    def changed(self) -> bool:
        """Whether an adapter touches this tensor."""
        return self._merged is not None and self._merged.changed

    def blocks(self) -> Iterator[RowBlock]:
        """Cut the rows into blocks; heads that are permuted stay whole."""
        rows = max(1, BLOCK_ELEMENTS // self.row_length)
        if self.source.heads is not None and len(self.shape) > 1:
            width = self.total_rows // self.source.heads
            rows = max(width, rows // width * width)
        for start in range(0, self.total_rows, rows):
            yield RowBlock(start, min(start + rows, self.total_rows))

    def read(self, block: RowBlock) -> FloatArray:
        """Return a block's merged values, shape ``[rows, row_length]``, float32, contiguous."""
        return self._gather(np.arange(block.start, block.stop), merged=True)

    def merged_rows(self, rows: NDArray[np.intp]) -> FloatArray:
        """Return merged rows by GGUF row number."""
        return self._gather(rows, merged=True)

    def base_rows(self, rows: NDArray[np.intp]) -> FloatArray:
        """Return the base checkpoint's rows by GGUF row number."""
        return self._gather(rows, merged=False)

    def _gather(self, rows: NDArray[np.intp], *, merged: bool) -> FloatArray:
        if self.source.values is not None:
            return np.ascontiguousarray(self.source.values.reshape(1, -1), dtype=np.float32)
        if self._merged is None:
            raise AssertionError(f"{self.source.gguf_name} has neither a source nor values")
        read = self._merged.rows if merged else self._merged.base_rows
        if len(self.shape) == 1:
            values = read(0, self.row_length)
            values = (values if self._order is None else values[self._order]).reshape(1, -1)
        else:
            values = _rows_of(read, rows if self._order is None else self._order[rows])
        if self.source.offset:
            values = values + np.float32(self.source.offset)
        return np.ascontiguousarray(values)


def _rows_of(read: Callable[[int, int], FloatArray], wanted: NDArray[np.intp]) -> FloatArray:
    """Read rows that are a permuted contiguous range in one go, others one by one."""
    first, last = int(wanted.min()), int(wanted.max()) + 1
    if last - first == len(wanted):
        values = read(first, last)
        if np.array_equal(wanted, np.arange(first, last)):
            return values
        return values[wanted - first]
    return np.concatenate([read(int(row), int(row) + 1) for row in wanted])
