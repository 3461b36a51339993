"""Vectors that are computed already, by the hash of their text: what a killed run leaves behind."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loragraft.artifact.closing import Closing
from loragraft.artifact.space import explain_full_disk

_HASH_BYTES = 32
_CHECK_BYTES = 4
_READ_BYTES = 1 << 24


class KeptVectors(Closing):
    """An append-only file of vectors, bound to one embedder; a context manager.

    Each record is a text's SHA-256, a check sum and the vector. A file of another embedder is
    emptied; a record that was cut off, and everything behind a garbled one, is dropped.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, key: str) -> None:
        """Open a file, or begin one.

        Args:
            path: The file.
            key: What the vectors depend on, as one string.
        """
        self.path = path
        self._head = hashlib.sha256(json.dumps(["vectors", 1, key]).encode()).digest()
        self._places: dict[bytes, int] = {}
        self._dimensions = 0
        size = self._read()
        self._file = path.open("r+b" if size else "w+b", buffering=0)
        self._file.truncate(size)
        if not size:
            self._write(self._head)

    def _record(self) -> int:
        return _HASH_BYTES + _CHECK_BYTES + 4 * self._dimensions

    def _read(self) -> int:
        """Find the records; return how many bytes of the file are good."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return 0
        with file:
            if file.read(_HASH_BYTES) != self._head:
                return 0
            width = file.read(4)
            self._dimensions = int.from_bytes(width, "little")
            if len(width) < 4 or not 0 < self._dimensions < 1 << 20:
                self._dimensions = 0
                return _HASH_BYTES
            position, record = _HASH_BYTES + 4, self._record()
            while block := file.read(max(_READ_BYTES // record, 1) * record):
                for first in range(0, len(block) - record + 1, record):
                    key = _checked(block[first : first + record])
                    if key is None:
                        return position
                    self._places[key] = position
                    position += record
            return position

    def _write(self, data: bytes) -> None:
        with explain_full_disk(self.path, len(data)):
            rest = memoryview(data)
            while len(rest):
                rest = rest[self._file.write(rest) :]

    def __contains__(self, sha256: bytes) -> bool:
        """Whether the vector of a text is there."""
        return sha256 in self._places

    def __len__(self) -> int:
        """Return how many vectors there are."""
        return len(self._places)

    @property
    def dimensions(self) -> int:
        """Length of a vector; 0 while there is none."""
        return self._dimensions

    def add(self, hashes: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Append vectors.

        Args:
            hashes: SHA-256 of each text.
            vectors: Shape [texts, dimensions].

        Raises:
            OutOfSpaceError: If the disk is full; what was there stays.
            ValueError: If their length is not that of those before.
        """
        end = self._file.seek(0, 2)
        if not self._dimensions:
            self._file.truncate(_HASH_BYTES)
            self._file.seek(0, 2)
            self._write(int(vectors.shape[1]).to_bytes(4, "little"))
            self._dimensions, end = int(vectors.shape[1]), _HASH_BYTES + 4
        if vectors.shape[1] != self._dimensions:
            raise ValueError(f"vectors of {vectors.shape[1]} dimensions among {self._dimensions}")
        parts: list[bytes] = []
        for key, vector in zip(hashes, vectors.astype("<f4", copy=False), strict=True):
            body = key + vector.tobytes()
            parts += [key, zlib.crc32(body).to_bytes(4, "little"), body[_HASH_BYTES:]]
        self._write(b"".join(parts))
        for number, key in enumerate(hashes):
            self._places[key] = end + number * self._record()

    def vectors(self, hashes: Sequence[bytes]) -> NDArray[np.float32]:
        """Return vectors by the hashes of their texts, which are all there."""
        out = np.empty((len(hashes), self._dimensions), "<f4")
        for number, key in enumerate(hashes):
            self._file.seek(self._places[key] + _HASH_BYTES + _CHECK_BYTES)
            out[number] = np.frombuffer(self._file.read(4 * self._dimensions), "<f4")
        return out.astype(np.float32, copy=False)

    def close(self) -> None:
        """Close the file; twice does no harm."""
        self._file.close()


def _checked(record: bytes) -> bytes | None:
    key, check = record[:_HASH_BYTES], record[_HASH_BYTES : _HASH_BYTES + _CHECK_BYTES]
    body = record[_HASH_BYTES + _CHECK_BYTES :]
    return key if zlib.crc32(key + body).to_bytes(4, "little") == check else None
