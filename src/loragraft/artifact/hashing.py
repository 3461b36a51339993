"""SHA-256 of files: while they are written, and afterwards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from loragraft.artifact.closing import Closing
from loragraft.artifact.space import explain_full_disk

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Large enough that hashlib and read() run without the interpreter lock for most of the time,
# small enough to stay in the processor's cache.
_CHUNK = 1 << 20


def sha256_file(path: Path, on_bytes: Callable[[int], object] | None = None) -> str:
    """Hash a file.

    Args:
        path: The file.
        on_bytes: Called with the number of bytes of each block read, for a progress display.

    Returns:
        64 lower-case hexadecimal digits.
    """
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if on_bytes is not None:
                on_bytes(count)
    return digest.hexdigest()


class HashingFile(Closing):
    """A file that grows at its end and knows its SHA-256 at every moment; a context manager.

    Not thread-safe: one thread writes.

    Attributes:
        path: Where it lies.
        position: Bytes written so far.
    """

    def __init__(self, path: Path, *, expected: int | None = None) -> None:
        """Create the file, or empty it.

        Args:
            path: Where to write.
            expected: The size it will have, if known: a full disk is then reported with the
                amount that is missing.
        """
        self.path = path
        self.position = 0
        self._expected = expected
        self._digest = hashlib.sha256()
        self._file = path.open("wb", buffering=0)

    @classmethod
    def resume(
        cls, path: Path, marks: Iterable[tuple[int, str]], *, expected: int | None = None
    ) -> HashingFile:
        """Go on behind the last mark that the file on the disk really reaches.

        Args:
            path: The file a killed process left; it may be missing.
            marks: Pairs of position and SHA-256 of everything before it, rising, as
                :meth:`mark` gave them.
            expected: As for the constructor.

        Returns:
            The file, cut to the last mark whose hash still holds (to nothing if none does), so
            that bytes a power cut swallowed are never trusted.
        """
        path.touch()
        file = cls.__new__(cls)
        file.path, file.position, file._expected = path, 0, expected
        file._digest = hashlib.sha256()
        file._file = path.open("r+b", buffering=0)
        try:
            file._walk(marks)
        except BaseException:
            file.close()
            raise
        return file

    def _walk(self, marks: Iterable[tuple[int, str]]) -> None:
        """Hash up to the last mark that holds, then cut the file there."""
        digest, position = self._digest.copy(), 0
        for stop, expected in marks:
            if stop < position or not self._hash_until(digest, stop - position):
                break
            position = stop
            if digest.hexdigest() != expected:
                break
            self.position, self._digest = stop, digest.copy()
        self._file.truncate(self.position)
        self._file.seek(self.position)

    def _hash_until(self, digest: hashlib._Hash, count: int) -> bool:
        """Read and hash the next bytes; False if the file ends before."""
        while count:
            block = self._file.read(min(count, _CHUNK))
            if not block:
                return False
            digest.update(block)
            count -= len(block)
        return True

    def write(self, data: Buffer) -> int:
        """Append bytes.

        Args:
            data: Anything with a C-contiguous buffer, a numpy array for example.

        Returns:
            How many bytes that were.

        Raises:
            OutOfSpaceError: If the disk is full; says how much is missing.
        """
        view = memoryview(data).cast("B")
        rest = view
        while len(rest):
            with explain_full_disk(self.path, self._still_needed(len(rest))):
                count = self._file.write(rest)
            self._digest.update(rest[:count])
            self.position += count
            rest = rest[count:]
        return len(view)

    def _still_needed(self, coming: int) -> int:
        return coming if self._expected is None else max(coming, self._expected - self.position)

    def mark(self) -> tuple[int, str]:
        """Return the position and the SHA-256 of everything before it, for a journal."""
        return self.position, self._digest.hexdigest()

    def hexdigest(self) -> str:
        """Return the SHA-256 of everything written so far."""
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Flush to the disk.

        Raises:
            OutOfSpaceError: If the file system finds only now that it is full.
        """
        with explain_full_disk(self.path, self._still_needed(0)):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; twice does no harm."""
        self._file.close()
