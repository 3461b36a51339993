"""Readers that stop where a hostile file would have the standard library read without end."""

from __future__ import annotations

import io
import lzma
from typing import IO

from loragraft.errors import AdapterError

_XZ_MEMORY = 192 << 20
"""Bytes of dictionary: `xz -9` needs 65 MiB. The format allows 4 GiB."""
_BLOCK = 1 << 16


class GuardedReader(io.RawIOBase):
    """A seekable file that refuses to be read too much at once or altogether.

    Attributes:
        total: Bytes that may be read altogether, skipped ones included; None for no bound.
        budget: Bytes that may be read until this is set anew; None for no bound.
    """

    def __init__(
        self,
        file: IO[bytes],
        total: int | None = None,
        budget: int | None = None,
        *,
        free_seeks: bool = False,
    ) -> None:
        """Wrap a file; it is not closed with this.

        Args:
            file: What to read from.
            total: As the attribute.
            budget: As the attribute.
            free_seeks: Whether moving costs no reading, and so does not count.
        """
        super().__init__()
        self._file, self._free_seeks = file, free_seeks
        self._done = 0
        self.total, self.budget = total, budget

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the file is."""
        return self._file.seekable()

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; going forward in a compressed file means reading, so it counts as that."""
        if whence == io.SEEK_SET and not self._free_seeks:
            self._count(max(0, offset - self._file.tell()))
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """Read.

        Raises:
            AdapterError: If this is more than allowed.
        """
        if self.budget is not None and not 0 <= size <= self.budget:
            raise AdapterError(
                "The archive has a member with a header of some MiB, as no honest one has. "
                "Nothing of it was kept."
            )
        if self.total is not None and size > self.total:
            raise self._too_much()
        data = self._file.read(size)
        self._count(len(data))
        if self.budget is not None:
            self.budget -= len(data)
        return data

    def _count(self, count: int) -> None:
        self._done += count
        if self.total is not None and self._done > self.total:
            raise self._too_much()

    def _too_much(self) -> AdapterError:
        return AdapterError(
            f"The archive's own tables, or what it unpacks to, have more than {self.total} bytes. "
            "Nothing of it was kept."
        )


class XzReader(io.RawIOBase):
    """An xz file as plain bytes, in bounded memory; goes forward only."""

    def __init__(self, file: IO[bytes]) -> None:
        """Wrap a compressed file."""
        super().__init__()
        self._file = file
        self._position = 0
        self._decoder: lzma.LZMADecompressor | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: forward, by reading."""
        return True

    def tell(self) -> int:
        """Return the position in the plain bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move forward.

        Raises:
            OSError: If asked to go back or from the end.
        """
        if whence == io.SEEK_CUR:
            offset += self._position
        if whence == io.SEEK_END or offset < self._position:
            raise io.UnsupportedOperation("an xz file is read forward only")
        buffer = bytearray(_BLOCK)
        while self._position < offset:
            view = memoryview(buffer)[: offset - self._position]
            if not self.readinto(view):
                break
        return self._position

    def readinto(self, buffer: object) -> int:
        """Fill a buffer; 0 at the end.

        Raises:
            EOFError: If the file is cut off.
            lzma.LZMAError: If it is broken or needs too much memory.
        """
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while len(view):
            data = self._next(len(view))
            if data is None:
                return 0
            if data:
                view[: len(data)] = data
                self._position += len(data)
                return len(data)
        return 0

    def _next(self, size: int) -> bytes | None:
        """Decode some bytes, perhaps none yet; None at the end."""
        decoder = self._decoder
        if decoder is None or decoder.eof:
            rest = decoder.unused_data if decoder else b""
            while not (rest := rest.lstrip(b"\0")):  # padding between streams
                rest = self._file.read(_BLOCK)
                if not rest:
                    return None
            decoder = self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            return decoder.decompress(rest, size)
        if not decoder.needs_input:
            return decoder.decompress(b"", size)
        block = self._file.read(_BLOCK)
        if not block:
            raise EOFError("the xz stream ends too early")
        return decoder.decompress(block, size)
