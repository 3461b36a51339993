"""The streaming engine: read, merge, quantize and write, once, in bounded memory.

Row blocks are independent, so threads encode them (numpy, numba and ggml release the GIL) while
the main thread writes finished ones in order. Only a handful of blocks is ever in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from loragraft.checkpoint.model import Checkpoint
from loragraft.errors import NonFiniteError
from loragraft.export.architectures import TensorSource
from loragraft.export.blocks import RowBlock, TensorRows
from loragraft.export.delta import Changes, Precision
from loragraft.export.quantize.kernels import Kernels
from loragraft.export.writer import GgufOutput, OutputTensor

Encoded = dict[int, NDArray[np.uint8]]
"""A block's bytes by tensor type: several outputs may share one."""

BLOCKS_PER_THREAD = 3
"""Blocks under way for each thread: one being encoded, one waiting, one being written."""

OnTensor = Callable[[int, tuple[int, str]], None]
"""Called with an output's number and the journal's mark after a tensor is in its file."""


@dataclass(frozen=True)
class StreamInput:
    """Everything that is read: the base, the tensors to make of it and what adapters change."""

    base: Checkpoint
    sources: Sequence[TensorSource]
    changes: Changes
    precision: Precision = "fp32"

    def open(self, index: int) -> TensorRows:
        """Open one tensor by its position in the output."""
        return TensorRows(self.sources[index], self.base, self.changes, self.precision)


@dataclass(frozen=True)
class _Job:
    """One block of one tensor under way."""

    index: int
    last: bool
    result: Future[Encoded]


def _encode(
    rows: TensorRows, block: RowBlock, kernels: Kernels, row_bytes: Mapping[int, int]
) -> Encoded:
    """Read, merge and encode a block into every type that some output wants."""
    values = rows.read(block)
    encoded: Encoded = {}
    try:
        for qtype, size in row_bytes.items():
            out = np.empty((len(values), size), dtype=np.uint8)
            kernels.quantize_into(qtype, values, out)
            encoded[qtype] = out
    except NonFiniteError as error:
        name = rows.source.source or rows.source.gguf_name
        raise NonFiniteError(
            f"{name}, rows {block.start} to {block.stop} of {rows.total_rows}: {error} "
            "The base or an adapter is broken, or the adapter's scale is far too large: check "
            "both files' checksums, then try a smaller --scale."
        ) from None
    return encoded


def _pending(index: int, outputs: Sequence[GgufOutput]) -> list[GgufOutput]:
    return [output for output in outputs if output.done <= index]


def _row_bytes(tensor: OutputTensor) -> int:
    rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
    return tensor.nbytes // rows


def _submit_all(
    source: StreamInput, outputs: Sequence[GgufOutput], kernels: Kernels, pool: ThreadPoolExecutor
) -> Iterator[_Job]:
    """Submit every block in order; the consumer's pace bounds how many are under way."""
    start = min(output.done for output in outputs)
    for index in range(start, len(source.sources)):
        pending = _pending(index, outputs)
        sizes = {o.tensors[index].qtype: _row_bytes(o.tensors[index]) for o in pending}
        rows = source.open(index)
        blocks = list(rows.blocks())
        for number, block in enumerate(blocks):
            future = pool.submit(_encode, rows, block, kernels, sizes)
            yield _Job(index, number == len(blocks) - 1, future)


def stream_tensors(
    source: StreamInput,
    outputs: Sequence[GgufOutput],
    kernels: Kernels,
    *,
    threads: int,
    on_bytes: Callable[[int], None],
    on_tensor: OnTensor,
) -> None:
    """Write every tensor of every output, reading the base once.

    Args:
        source: What is read.
        outputs: Opened outputs; tensors that one has already are not encoded for it again.
        kernels: The encoders.
        threads: Encoding threads.
        on_bytes: Called with the number of bytes that were written.
        on_tensor: Called after each tensor of each output, for the journal.

    Raises:
        NonFiniteError: NaN, Inf or an overflow among the merged weights, with the tensor's name.
    """
    under_way: deque[_Job] = deque()
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads, "encode") as pool:
        jobs = _submit_all(source, outputs, kernels, pool)
        try:
            while True:
                while len(under_way) < threads * BLOCKS_PER_THREAD:
                    job = next(jobs, None)
                    if job is None:
                        break
                    under_way.append(job)
                if not under_way:
                    return
                _write(under_way.popleft(), source, outputs, on_bytes, on_tensor)
        except BaseException:
            for job in under_way:
                job.result.cancel()
            raise


def _write(
    job: _Job,
    source: StreamInput,
    outputs: Sequence[GgufOutput],
    on_bytes: Callable[[int], None],
    on_tensor: OnTensor,
) -> None:
    encoded = job.result.result()
    for number, output in enumerate(outputs):
        if output.done > job.index:
            continue
        data = encoded[output.tensors[job.index].qtype]
        output.append(data)
        on_bytes(data.nbytes)
        if job.last:
            on_tensor(number, output.finish_tensor())
    name = source.sources[job.index].source
    if job.last and name is not None and name in source.base.tensors:
        source.base.forget(name)
