"""A file that a foreign client writes into: watched, and with words for a full disk."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from loragraft.artifact.progress import Progress
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import UnavailableError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class GrowingFile(io.FileIO):
    """A file opened at its end; what is written is there even if the process is killed."""

    def __init__(self, path: Path, expected: int, progress: Progress) -> None:
        """Open or create the file.

        Args:
            path: Where it lies.
            expected: The size it will have.
            progress: Who wants to know of every byte.
        """
        path.touch()
        super().__init__(path, "r+")
        self.seek(0, io.SEEK_END)
        self._path, self._expected, self._progress = path, expected, progress

    def write(self, data: Buffer, /) -> int:
        """Write all of the bytes.

        Raises:
            OutOfSpaceError: If the disk is full.
            UnavailableError: If these are more than were announced.
        """
        view = memoryview(data).cast("B")
        if self.tell() + len(view) > self._expected:
            raise UnavailableError(
                f"More than the {self._expected} bytes that were announced arrive for one file. "
                "Run the same command again; if that does not help, tell its author."
            )
        rest = view
        while len(rest):
            with explain_full_disk(self._path, self._expected - self.tell()):
                count = super().write(rest)
            self._progress.advance(count)
            rest = rest[count:]
        return len(view)
