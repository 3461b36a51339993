"""A GGUF file read lazily: the header is checked on opening, the data stays mapped.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Metadata values are only
skipped on opening (a vocabulary of 150,000 strings takes tens of milliseconds) and decoded when
they are asked for.
"""

from __future__ import annotations

import mmap
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from loragraft.artifact.closing import Closing
from loragraft.errors import BundleError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMENSIONS = 4
MIN_ITEM_BYTES = 13
"""Bytes of the smallest metadata item: an empty key, a type and one byte."""
MIN_TENSOR_BYTES = 32
"""Bytes of the smallest tensor info: an empty name, one dimension, type and offset."""

_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
            12: "d"}  # fmt: skip
_SIZES = {kind: struct.calcsize("<" + code) for kind, code in _SCALARS.items()}


@dataclass(frozen=True)
class GgufTensor:
    """Where a tensor lies: shape in numpy order (row length last), absolute offset in bytes."""

    name: str
    shape: tuple[int, ...]
    qtype: int
    start: int
    row_bytes: int

    @property
    def row_length(self) -> int:
        """Values in a row."""
        return self.shape[-1]

    @property
    def rows(self) -> int:
        """Rows in all; a vector is one row."""
        count = 1
        for size in self.shape[:-1]:
            count *= size
        return count

    @property
    def nbytes(self) -> int:
        """Bytes of the data, padding excluded."""
        return self.rows * self.row_bytes

    @property
    def type_name(self) -> str:
        """The type's name, such as Q4_K."""
        return GGMLQuantizationType(self.qtype).name


class _Cursor:
    """Reads little-endian values off a buffer and notices its end."""

    def __init__(self, buffer: mmap.mmap, path: Path) -> None:
        self.buffer = buffer
        self.path = path
        self.position = 0

    def fail(self, what: str) -> BundleError:
        return BundleError(
            f"{self.path} is broken: {what}. Check its checksum, and export or download it again."
        )

    def skip(self, count: int) -> int:
        """Move on and return where the skipped bytes begin."""
        start = self.position
        if count < 0 or start + count > len(self.buffer):
            raise self.fail(f"the header goes on past its {len(self.buffer)} bytes, at {start}")
        self.position = start + count
        return start

    def number(self, code: str) -> Any:  # noqa: ANN401 - as many types as codes
        form = "<" + code
        return struct.unpack_from(form, self.buffer, self.skip(struct.calcsize(form)))[0]

    def text(self) -> str:
        length = self.number("Q")
        start = self.skip(length)
        try:
            return self.buffer[start : start + length].decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"a name at byte {start} is not UTF-8") from None

    def skip_value(self, kind: int) -> None:
        if kind in _SIZES:
            self.skip(_SIZES[kind])
        elif kind == _STRING:
            self.skip(self.number("Q"))
        elif kind == _ARRAY:
            self._skip_array()
        else:
            raise self.fail(f"metadata of the unknown type {kind} at byte {self.position}")

    def _skip_array(self) -> None:
        kind, count = self.number("I"), self.number("Q")
        if kind in _SIZES:
            self.skip(count * _SIZES[kind])
            return
        if kind != _STRING:
            raise self.fail(f"an array of type {kind} at byte {self.position}")
        unpack, position, size = struct.Struct("<Q").unpack_from, self.position, len(self.buffer)
        if count * 8 > size:
            raise self.fail(f"an array of {count} strings in {size} bytes")
        for _ in range(count):
            if position + 8 > size:
                break
            position += 8 + unpack(self.buffer, position)[0]
        if position > size or self.position + count * 8 > size:
            raise self.fail("a string array goes on past the end of the file")
        self.position = position

    def value(self, kind: int) -> Any:  # noqa: ANN401
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_SCALARS[kind])
        kind, count = self.number("I"), self.number("Q")
        if kind == _STRING:
            return [self.text() for _ in range(count)]
        start = self.skip(count * _SIZES[kind])
        return list(struct.unpack_from(f"<{count}{_SCALARS[kind]}", self.buffer, start))


class GgufFile(Closing):
    """An opened GGUF file; a context manager.

    Attributes:
        path: Where it lies.
        version: The format's version.
        alignment: Bytes that tensor data is aligned to.
        tensors: Every tensor by name, in the file's order.
        data_start: Where the tensor data begins.
    """

    def __init__(self, path: Path) -> None:
        """Map the file and check its header, and that every tensor's data lies inside.

        Raises:
            BundleError: If it is missing, no GGUF file, truncated or inconsistent.
        """
        self.path = Path(path)
        self._buffer = _map(self.path)
        try:
            self._parse()
        except BaseException:
            self._buffer.close()
            raise
        self._array = np.frombuffer(self._buffer, dtype=np.uint8)

    def _parse(self) -> None:
        cursor = _Cursor(self._buffer, self.path)
        cursor.skip(len(MAGIC))
        self.version = _check_version(cursor)
        tensor_count, item_count = cursor.number("Q"), cursor.number("Q")
        needed = tensor_count * MIN_TENSOR_BYTES + item_count * MIN_ITEM_BYTES
        if needed > len(self._buffer):
            raise cursor.fail(f"{tensor_count} tensors and {item_count} metadata items cannot fit")
        self._items: dict[str, tuple[int, int]] = {}
        for _ in range(item_count):
            key, kind = cursor.text(), cursor.number("I")
            if key in self._items:
                raise cursor.fail(f"the metadata key {key!r} stands twice")
            self._items[key] = (kind, cursor.position)
            cursor.skip_value(kind)
        alignment = self.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise cursor.fail(f"the alignment {alignment!r} is no power of two")
        self.alignment = alignment
        infos = [_read_info(cursor) for _ in range(tensor_count)]
        self.data_start = -(-cursor.position // self.alignment) * self.alignment
        self.tensors: dict[str, GgufTensor] = {}
        for name, shape, qtype, offset in infos:
            if name in self.tensors:
                raise cursor.fail(f"the tensor {name!r} stands twice")
            self.tensors[name] = self._place(cursor, name, shape, qtype, offset)
        self._check_overlaps(cursor)

    def _place(
        self, cursor: _Cursor, name: str, shape: tuple[int, ...], qtype: int, offset: int
    ) -> GgufTensor:
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(qtype)]
        if shape[-1] % block:
            raise cursor.fail(f"rows of {name!r} have {shape[-1]} values, no multiple of {block}")
        if offset % self.alignment:
            raise cursor.fail(f"the data of {name!r} starts at {offset}, which is not aligned")
        row_bytes = shape[-1] // block * block_bytes
        tensor = GgufTensor(name, shape, qtype, self.data_start + offset, row_bytes)
        end, size = tensor.start + tensor.nbytes, len(self._buffer)
        if end > size:
            raise cursor.fail(
                f"the data of {name!r} ends at byte {end}, but the file has {size}: "
                f"it is truncated by at least {end - size} bytes"
            )
        return tensor

    def _check_overlaps(self, cursor: _Cursor) -> None:
        end, before = 0, ""
        for tensor in sorted(self.tensors.values(), key=lambda t: t.start):
            if tensor.start < end:
                raise cursor.fail(f"the data of {before!r} and {tensor.name!r} overlap")
            end, before = tensor.start + tensor.nbytes, tensor.name

    @property
    def keys(self) -> tuple[str, ...]:
        """Every metadata key, in the file's order."""
        return tuple(self._items)

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401
        """Decode a metadata value: a number, bool, string or a list of one of them."""
        if key not in self._items:
            return default
        kind, position = self._items[key]
        cursor = _Cursor(self._buffer, self.path)
        cursor.position = position
        return cursor.value(kind)

    def raw_rows(self, name: str, rows: NDArray[np.intp] | None = None) -> NDArray[np.uint8]:
        """Copy encoded rows, shape ``[rows, row_bytes]``; all of them where none are named."""
        tensor = self.tensor(name)
        data = self._array[tensor.start : tensor.start + tensor.nbytes]
        table = data.reshape(tensor.rows, tensor.row_bytes)
        return table.copy() if rows is None else table[rows]

    def rows(self, name: str, rows: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
        """Decode rows to float32, shape ``[rows, row_length]``.

        Raises:
            BundleError: If there is no such tensor, or gguf cannot decode its type.
        """
        tensor = self.tensor(name)
        raw = self.raw_rows(name, rows)
        try:
            with np.errstate(all="ignore"):  # broken scales overflow; the caller counts NaN
                values = dequantize(raw, GGMLQuantizationType(tensor.qtype))
        except NotImplementedError:
            raise BundleError(
                f"{self.path}: {name} has the type {tensor.type_name}, which cannot be read back."
            ) from None
        return cast("NDArray[np.float32]", values).reshape(len(raw), tensor.row_length)

    def tensor(self, name: str) -> GgufTensor:
        """Return a tensor's place.

        Raises:
            BundleError: If the file has no such tensor.
        """
        try:
            return self.tensors[name]
        except KeyError:
            raise BundleError(f"{self.path} holds no tensor {name!r}. Export it again.") from None

    def close(self) -> None:
        """Drop the mapping."""
        del self._array
        self._buffer.close()


def _map(path: Path) -> mmap.mmap:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for ever
            raise BundleError(f"{path} is no file: a GGUF file was expected.")
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise BundleError(f"{path} is not a GGUF file: it does not begin with GGUF.")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from None


def _check_version(cursor: _Cursor) -> int:
    version = int(cursor.number("I"))
    if version in VERSIONS:
        return version
    if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS:
        raise cursor.fail("it is big-endian; loragraft reads little-endian files")
    raise cursor.fail(f"GGUF version {version}, expected one of {VERSIONS}")


def _read_info(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name, dimensions = cursor.text(), cursor.number("I")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise cursor.fail(f"{name!r} has {dimensions} dimensions")
    sizes = [int(cursor.number("Q")) for _ in range(dimensions)]
    qtype, offset = int(cursor.number("I")), int(cursor.number("Q"))
    if any(size == 0 for size in sizes):
        raise cursor.fail(f"{name!r} has the empty shape {sizes}")
    if qtype not in {int(kind) for kind in GGMLQuantizationType}:
        raise cursor.fail(f"{name!r} has the unknown tensor type {qtype}")
    return name, tuple(reversed(sizes)), qtype, offset
