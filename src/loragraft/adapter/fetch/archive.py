"""Unpack what someone else packed, as if they meant harm.

Only plain files come out, under safe names, within limits on their number, their sizes and on
how far they swell; a link, a device or a name that leads out refuses the whole archive. The
limits hold while bytes are produced, whatever an archive says about itself.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

from loragraft.adapter.fetch.guarded import GuardedReader, XzReader
from loragraft.adapter.fetch.limits import Limits
from loragraft.adapter.fetch.names import SafeNames, find_renamed, is_rubbish
from loragraft.artifact.progress import Progress, Silent
from loragraft.artifact.space import explain_full_disk, format_bytes
from loragraft.errors import AdapterError

ArchiveKind = Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]

_MAGIC: tuple[tuple[int, bytes, ArchiveKind], ...] = (
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"\x1f\x8b", "tar.gz"),
    (0, b"BZh", "tar.bz2"),
    (0, b"\xfd7zXZ\x00", "tar.xz"),
    (257, b"ustar", "tar"),
)
_NEVER = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npz", ".safetensors", ".gguf"})
"""Files of weights, some of which (torch's) are zip files inside."""
_CHUNK = 1 << 20
_DIRECTORY_BYTES = 8 << 20
"""Of a zip file's directory: 10,000 members have about 1 MB. It is read whole, hence bounded."""
_HEADER_BYTES = 2 << 20
"""Of one tar header: names have some KB at most, but tarfile reads whatever one claims."""
_TAKEN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}
"""Not LZMA: its header may ask for 4 GiB of memory."""
_EPOCH_1980 = 315532800
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError,
    NotImplementedError, ValueError, UnicodeError, OverflowError, RuntimeError,
)  # fmt: skip
"""What the standard library's readers raise on broken files."""


def archive_kind(path: Path, name: str | None = None) -> ArchiveKind | None:
    """Say which kind of archive a file is, by its first bytes; None for anything else.

    Args:
        path: The file.
        name: What it is called, where the path does not say.
    """
    if os.path.splitext(name or path.name)[1].lower() in _NEVER:
        return None
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise AdapterError(f"Cannot read {path}: {error.strerror or error}.") from None
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    return None


def unpack(
    archive: Path, folder: Path, limits: Limits, progress: Progress | None = None
) -> list[str]:
    """Unpack an archive into an empty folder.

    Args:
        archive: A zip or tar file, the latter also with gzip, bzip2 or xz.
        folder: Where to; on an error it holds a part, so it must be one that nobody sees.
        limits: What may come out.
        progress: Who wants to know.

    Returns:
        What a user should read: files left out or stored under another name.

    Raises:
        AdapterError: If it is broken, hostile or beyond the limits.
        OutOfSpaceError: If the disk is full.
    """
    kind = archive_kind(archive)
    if kind is None:
        raise AdapterError(f"{archive.name} is no zip or tar file.")
    out = _Unpacking(archive, folder, limits, progress or Silent())
    with _explain_broken(archive):
        if kind == "zip":
            _unpack_zip(archive, out)
        else:
            _unpack_tar(archive, kind, out)
    if not out.files:
        raise AdapterError(f"{archive.name} holds no files.")
    return out.notes()


@contextmanager
def _explain_broken(archive: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise AdapterError(
            f"{archive.name} is broken or cut off ({error}). Fetch it again."
        ) from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # EINVAL: a seek to before the beginning
            raise
        raise AdapterError(
            f"{archive.name} is broken or cut off ({error}). Fetch it again."
        ) from None


class _Unpacking:
    """What has come out so far, against the limits."""

    def __init__(self, archive: Path, folder: Path, limits: Limits, progress: Progress) -> None:
        self.limits = limits
        self.files = 0
        self.seen = 0
        self._archive, self._folder, self._progress = archive, folder, progress
        self._size = archive.stat().st_size
        self._total = 0
        self._names = SafeNames()
        self._renamed: list[str] = []
        self._left: list[str] = []
        progress.begin(f"Unpacking {archive.name}", 0)

    def count(self) -> None:
        """Count a member of any kind."""
        self.seen += 1
        if self.seen > self.limits.files:
            raise self.refuse(f"holds more than {self.limits.files} members")

    def refuse(self, why: str) -> AdapterError:
        return AdapterError(
            f"{self._archive.name} {why}. Nothing of it was kept. If you trust where it comes "
            "from, unpack it with another tool, and give the adapter's folder."
        )

    def announce(self, size: int) -> None:
        """Refuse early what an archive itself says is too large."""
        self._check(size, 0)

    def add(self, name: str, source: IO[bytes], size: int, modified: float | None) -> None:
        """Write one member."""
        if is_rubbish(name):
            self._left.append(name)
            return
        path = self._names.add(name)
        self._renamed += find_renamed([(name, path)])
        self._check(self._total + size, size)
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb", buffering=0) as file:
            written = self._copy(source, file, target)
        if written != size:
            raise AdapterError(
                f"{name} has {written} bytes, not {size}, as {self._archive.name} says. "
                "Fetch it again."
            )
        if modified is not None and _EPOCH_1980 <= modified < time.time() + 86400:
            os.utime(target, (modified, modified))
        self.files += 1

    def _copy(self, source: IO[bytes], file: io.FileIO, target: Path) -> int:
        written = 0
        while block := source.read(_CHUNK):
            written += len(block)
            self._total += len(block)
            self._check(self._total, written)
            rest = memoryview(block)
            while len(rest):
                with explain_full_disk(target):
                    rest = rest[file.write(rest) :]
            self._progress.advance(len(block))
        return written

    def _check(self, total: int, one: int) -> None:
        limits = self.limits
        if one > limits.file_bytes or total > limits.total_bytes:
            most = min(limits.file_bytes, limits.total_bytes)
            raise self.refuse(f"unpacks to more than {format_bytes(most)} (--max-size)")
        if total > limits.ratio_from and total > limits.ratio * self._size:
            raise self.refuse(
                f"({format_bytes(self._size)}) unpacks to more than {limits.ratio:g} times its "
                "size, as only archives made to fill a disk do"
            )

    def notes(self) -> list[str]:
        """Say what was left out or renamed."""
        left = [f"{name} is a desktop's own file and left out." for name in self._left]
        return left + self._renamed


def _unpack_zip(archive: Path, out: _Unpacking) -> None:
    with archive.open("rb") as raw:
        guarded = GuardedReader(raw, total=_DIRECTORY_BYTES, free_seeks=True)
        with zipfile.ZipFile(guarded) as file:
            guarded.total = None
            members = file.infolist()
            out.announce(sum(m.file_size for m in members if not m.is_dir()))
            for member in members:
                out.count()
                if not _zip_file(member, out):
                    continue
                with file.open(member) as source:
                    out.add(member.orig_filename, source, member.file_size, _zip_time(member))


def _zip_file(member: zipfile.ZipInfo, out: _Unpacking) -> bool:
    """Whether a member is a file; refuses what is neither file nor folder."""
    name = member.orig_filename
    mode = member.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        raise out.refuse(f"holds the link {name!r}")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise out.refuse(f"holds {name!r}, which is no plain file")
    if kind == stat.S_IFDIR or name.endswith(("/", "\\")):
        return False
    if member.flag_bits & 0x1:
        raise out.refuse(f"is encrypted ({name!r})")
    if member.compress_type not in _TAKEN:
        raise out.refuse(f"uses compression method {member.compress_type} ({name!r})")
    return True


def _zip_time(member: zipfile.ZipInfo) -> float | None:
    try:
        return time.mktime((*member.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return None


_DECODERS: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "tar": lambda raw: raw,
    "tar.gz": lambda raw: gzip.GzipFile(fileobj=raw, mode="rb"),  # type: ignore[dict-item,return-value]
    "tar.bz2": lambda raw: bz2.BZ2File(raw),
    "tar.xz": lambda raw: io.BufferedReader(XzReader(raw)),
}


def _unpack_tar(archive: Path, kind: str, out: _Unpacking) -> None:
    limits = out.limits
    # Headers, padding and folders come on top of the files themselves.
    most = limits.total_bytes + limits.files * 4096 + _HEADER_BYTES
    with archive.open("rb") as raw, _DECODERS[kind](raw) as stream:
        guarded = GuardedReader(stream, total=most, budget=_HEADER_BYTES)
        with tarfile.open(fileobj=guarded, mode="r:", errorlevel=2) as file:
            while (member := _next_member(file, guarded)) is not None:
                out.count()
                if not _tar_file(member, out):
                    continue
                source = file.extractfile(member)
                assert source is not None  # it is a regular file
                out.add(member.name, source, member.size, float(member.mtime))


def _next_member(file: tarfile.TarFile, guarded: GuardedReader) -> tarfile.TarInfo | None:
    """Read the next header, however many blocks it claims to have, within bounds."""
    guarded.budget = _HEADER_BYTES
    member = file.next()
    guarded.budget = None
    return member


def _tar_file(member: tarfile.TarInfo, out: _Unpacking) -> bool:
    """Whether a member is a file; refuses what is neither file nor folder."""
    if member.isdir():
        return False
    if member.issym() or member.islnk():
        raise out.refuse(f"holds the link {member.name!r}")
    if not member.isreg() or member.issparse():
        raise out.refuse(f"holds {member.name!r}, which is no plain file")
    return True
