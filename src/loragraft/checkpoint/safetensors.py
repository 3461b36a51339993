"""A memory-mapped safetensors file that is checked when it is opened and decoded row by row.

The format (https://github.com/huggingface/safetensors#format): 8 bytes little-endian header
length, a JSON object, then one byte buffer that the tensors cover without gaps or overlaps.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.closing import Closing
from loragraft.checkpoint.files import require_regular
from loragraft.errors import CheckpointError

MAX_HEADER_BYTES = 100_000_000
"""The reference implementation refuses longer headers too; no real checkpoint comes near."""

MAX_DIMENSIONS = 8
"""Weights have five at most (convolutions over video)."""

MAX_BYTES = 2**63 - 1
"""The largest size of a file, and of an array."""

_LENGTH_BYTES = 8

ITEM_SIZES: Mapping[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
    "C64": 8,
}  # fmt: skip
"""Bytes of one element by the format's own dtype names (sub-byte types are not accepted)."""

FLOAT_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})
"""Those that :meth:`SafetensorsFile.rows` decodes."""


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: dtype name, shape (row-major) and absolute byte range."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.stop - self.start

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen = dict(pairs)
    if len(seen) != len(pairs):
        once: set[str] = set()
        for name, _ in pairs:
            if name in once:
                raise ValueError(f"the key {name!r} stands twice")
            once.add(name)
    return seen


def _parse_entry(name: str, entry: Any, data_start: int) -> TensorInfo:  # noqa: ANN401 - JSON
    try:
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError) as error:
        raise ValueError(f"tensor {name!r} lacks {error}") from None
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has {_sizes(shape, offsets)}")
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"tensor {name!r} has {len(shape)} dimensions, {MAX_DIMENSIONS} at most")
    if any(type(n) is not int or not 0 <= n <= MAX_BYTES for n in (*shape, *offsets)):
        raise ValueError(f"tensor {name!r} has {_sizes(shape, offsets)}")
    if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise ValueError(f"tensor {name!r} has the unknown dtype {reprlib.repr(dtype)}")
    expected = math.prod(shape) * ITEM_SIZES[dtype]
    if offsets[1] - offsets[0] != expected:
        raise ValueError(
            f"tensor {name!r} of {dtype} {shape} needs {expected} bytes, "
            f"its offsets give {offsets[1] - offsets[0]}"
        )
    return TensorInfo(name, dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _sizes(shape: object, offsets: object) -> str:
    return f"the shape {reprlib.repr(shape)} and the offsets {reprlib.repr(offsets)}"


def _check_layout(tensors: Mapping[str, TensorInfo], data_start: int, file_size: int) -> None:
    position = data_start
    for info in sorted(tensors.values(), key=lambda info: (info.start, info.stop)):
        if info.start != position:
            kind = "overlaps the one before it" if info.start < position else "leaves a gap"
            raise ValueError(f"tensor {info.name!r} {kind} (at byte {info.start}, not {position})")
        position = info.stop
    if position > file_size:
        raise ValueError(
            f"the file is truncated: {file_size} bytes of {position}. "
            "Download it again, or copy it again from where it was made"
        )
    if position < file_size:
        raise ValueError(f"{file_size - position} bytes lie behind the last tensor")


def _parse_header(raw: bytes, data_start: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_reject_duplicates)
    except (UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"the header is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise ValueError("__metadata__ is not a JSON object")
    tensors = {name: _parse_entry(name, entry, data_start) for name, entry in header.items()}
    return tensors, {str(key): str(value) for key, value in metadata.items()}


def read_header(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Read and check the header of a safetensors file; no tensor data is read.

    Returns:
        The tensors by name, and the file's own metadata.

    Raises:
        CheckpointError: If the file is missing, truncated or not what it says.
    """
    try:
        size = require_regular(path)
        with path.open("rb") as file:
            length_bytes = file.read(_LENGTH_BYTES)
            length = int.from_bytes(length_bytes, "little")
            if len(length_bytes) < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
                raise ValueError(f"{size} bytes are too few for its header of {length} bytes")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header claims {length} bytes")
            data_start = _LENGTH_BYTES + length
            tensors, metadata = _parse_header(file.read(length), data_start)
            _check_layout(tensors, data_start, size)
    except OSError as error:
        raise CheckpointError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not a sound safetensors file: {error}.") from None
    return tensors, metadata


def decode_float32(raw: memoryview | bytes, dtype: str) -> NDArray[np.float32]:
    """Decode little-endian F64, F32, F16 or BF16 bytes into a fresh 1-D float32 array.

    Raises:
        CheckpointError: If ``dtype`` is none of those.
    """
    if dtype == "BF16":
        wide = np.frombuffer(raw, dtype="<u2").astype(np.uint32)
        np.left_shift(wide, 16, out=wide)
        return wide.view(np.float32)
    if dtype == "F16":
        with np.errstate(invalid="ignore"):  # a signalling NaN; NaN is judged elsewhere
            return np.frombuffer(raw, dtype="<f2").astype(np.float32)
    if dtype == "F32":
        return np.frombuffer(raw, dtype="<f4").astype(np.float32)
    if dtype == "F64":
        with np.errstate(invalid="ignore", over="ignore"):  # becomes Inf, which is judged
            return np.frombuffer(raw, dtype="<f8").astype(np.float32)
    raise CheckpointError(
        f"Weights of dtype {dtype} are not plain floating point (expected BF16, F16, F32 or F64). "
        "Use the full-precision checkpoint."
    )


class SafetensorsFile(Closing):
    """A safetensors file, mapped into memory; rows are decoded to float32 on request."""

    def __init__(self, path: Path) -> None:
        """Check the whole header and map the file.

        Raises:
            CheckpointError: If the file is missing, truncated or not what it says.
        """
        self.path = Path(path)
        self.tensors, self.metadata = read_header(self.path)
        with self.path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)

    def close(self) -> None:
        """Drop the mapping; safe to call twice."""
        with contextlib.suppress(BufferError):  # a caller still holds a view: it dies with it
            self._view.release()
            self._map.close()

    def info(self, name: str) -> TensorInfo:
        """Return where a tensor lies.

        Raises:
            CheckpointError: If there is no such tensor.
        """
        try:
            return self.tensors[name]
        except KeyError:
            raise CheckpointError(f"{self.path} holds no tensor {name!r}.") from None

    def raw(self, name: str) -> memoryview:
        """Return the bytes of a tensor, without a copy."""
        info = self.info(name)
        return self._view[info.start : info.stop]

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Decode rows ``start`` to ``stop`` of a tensor into a fresh float32 array.

        Args:
            name: The tensor's name.
            start: First row (index into the first dimension).
            stop: One past the last row.

        Returns:
            Shape ``(stop - start, *shape[1:])``.
        """
        info = self.info(name)
        rows = info.shape[0] if info.shape else 1
        if not 0 <= start <= stop <= rows:
            raise CheckpointError(f"{name!r} has {rows} rows; {start} to {stop} were asked for.")
        row_bytes = info.nbytes // rows if rows else 0
        chunk = self._view[info.start + start * row_bytes : info.start + stop * row_bytes]
        return decode_float32(chunk, info.dtype).reshape(stop - start, *info.shape[1:])

    def array(self, name: str) -> NDArray[np.float32]:
        """Decode a whole tensor into a fresh float32 array of its own shape."""
        info = self.info(name)
        return decode_float32(self.raw(name), info.dtype).reshape(info.shape)

    def prefetch(self, name: str) -> None:
        """Ask the system to read a tensor's pages ahead of time, where it can be asked."""
        self._advise(name, "MADV_WILLNEED")

    def forget(self, name: str) -> None:
        """Tell the system that a tensor's pages are no longer needed by this process."""
        self._advise(name, "MADV_DONTNEED")

    def _advise(self, name: str, advice: str) -> None:
        code = getattr(mmap, advice, None)
        if code is None or sys.platform == "win32":
            return
        info = self.info(name)
        page = os.sysconf("SC_PAGE_SIZE")
        start = info.start // page * page
        if info.stop > start:
            self._map.madvise(code, start, info.stop - start)
