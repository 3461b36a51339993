"""A GGUF file written once, front to back, hashed on the way and resumable after a crash.

The header with all tensor infos comes first: types and sizes are known before a weight is read.
The journal holds one line per finished tensor with the hash of everything before it, so that a
resumed export trusts nothing it has not read back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.hashing import HashingFile

ALIGNMENT = gguf.GGUF_DEFAULT_ALIGNMENT

Item = tuple[str, Any, str]
"""A metadata key, its value and its kind: u32, f32, string, bool, [string], [i32], [f32], …"""

_SCALARS = {
    "u8": gguf.GGUFValueType.UINT8,
    "u32": gguf.GGUFValueType.UINT32,
    "i32": gguf.GGUFValueType.INT32,
    "u64": gguf.GGUFValueType.UINT64,
    "f32": gguf.GGUFValueType.FLOAT32,
    "bool": gguf.GGUFValueType.BOOL,
    "string": gguf.GGUFValueType.STRING,
}


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of the output: shape in numpy order, ggml type, bytes of its data."""

    name: str
    shape: tuple[int, ...]
    qtype: int
    nbytes: int

    @property
    def padded(self) -> int:
        """Bytes with the padding behind it."""
        return -(-self.nbytes // ALIGNMENT) * ALIGNMENT


def write_header(
    path: Path, architecture: str, items: Iterable[Item], tensors: Sequence[OutputTensor]
) -> int:
    """Write magic, metadata and tensor infos, padded to where the data starts.

    Returns:
        The offset of the first tensor's data.
    """
    writer = gguf.GGUFWriter(path=None, arch=architecture)
    for key, value, kind in items:
        if kind.startswith("["):
            element = _SCALARS[kind[1:-1]]
            writer.add_key_value(key, list(value), gguf.GGUFValueType.ARRAY, sub_type=element)
        elif key != gguf.Keys.General.ARCHITECTURE:
            writer.add_key_value(key, value, _SCALARS[kind])
    for tensor in tensors:
        writer.tensors[-1][tensor.name] = gguf.gguf_writer.TensorInfo(
            shape=list(tensor.shape),
            dtype=gguf.GGMLQuantizationType(tensor.qtype),
            nbytes=tensor.nbytes,
        )
    writer.write_header_to_file(path=path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("ab") as file:
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
        return file.tell()


class GgufOutput:
    """Appends tensor data behind a header; the file's SHA256 is known at every moment."""

    def __init__(self, path: Path, header: bytes, tensors: Sequence[OutputTensor]) -> None:
        """Prepare the output; nothing is written before :meth:`open`."""
        self.path = path
        self.tensors = tuple(tensors)
        self.done = 0
        self._header = header
        self._written = 0
        self._file: HashingFile | None = None

    @property
    def size(self) -> int:
        """Bytes of the finished file."""
        return len(self._header) + sum(tensor.padded for tensor in self.tensors)

    def open(self, marks: Sequence[tuple[int, str]] = ()) -> int:
        """Open the file, keeping what an earlier run finished.

        Args:
            marks: Position and SHA256 after the header and after each tensor, as
                :meth:`finish_tensor` gave them; those that still hold are kept.

        Returns:
            The number of tensors that are there and proven.
        """
        header_mark = (len(self._header), hashlib.sha256(self._header).hexdigest())
        self._file = HashingFile.resume(self.path, [header_mark, *marks], expected=self.size)
        if self._file.position == 0:
            self._file.write(self._header)
        end = len(self._header)
        while self.done < len(self.tensors) and end + self.tensors[self.done].padded <= (
            self._file.position
        ):
            end += self.tensors[self.done].padded
            self.done += 1
        return self.done

    @property
    def remaining(self) -> int:
        """Bytes of tensor data that are still to be written."""
        return sum(tensor.nbytes for tensor in self.tensors[self.done :])

    def _open_file(self) -> HashingFile:
        if self._file is None:
            raise AssertionError(f"{self.path} is not open")
        return self._file

    def append(self, data: NDArray[np.uint8]) -> None:
        """Write the next bytes of the current tensor (C-contiguous)."""
        self._written += self._open_file().write(data.data)

    def finish_tensor(self) -> tuple[int, str]:
        """Pad the current tensor and return the journal's mark behind it."""
        tensor, file = self.tensors[self.done], self._open_file()
        if self._written != tensor.nbytes:
            raise AssertionError(f"{tensor.name}: {self._written} bytes of {tensor.nbytes}")
        file.write(b"\0" * (tensor.padded - tensor.nbytes))
        self._written = 0
        self.done += 1
        return file.mark()

    def finish(self) -> str:
        """Flush to the disk, close, and return the SHA256 of the whole file."""
        file = self._open_file()
        digest = file.hexdigest()
        file.sync()
        file.close()
        return digest

    def close(self) -> None:
        """Close the file, finished or not."""
        if self._file is not None:
            self._file.close()
