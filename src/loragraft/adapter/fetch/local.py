"""Fetch from this machine: a folder is copied, an archive unpacked; the original stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from loragraft.adapter.fetch.archive import archive_kind, unpack
from loragraft.adapter.fetch.delivery import Delivery, list_files, without_wrapping
from loragraft.adapter.fetch.limits import Limits
from loragraft.adapter.fetch.part import too_large
from loragraft.adapter.fetch.record import clear_folder
from loragraft.adapter.fetch.sources import Source
from loragraft.artifact.hashing import HashingFile
from loragraft.artifact.progress import Progress
from loragraft.artifact.space import require_disk
from loragraft.errors import AdapterError, InputError

_LEFT_OUT = frozenset({".git", "__pycache__", ".cache"})
"""Folders that belong to tools, not to an adapter."""
_CHUNK = 1 << 20


def fetch_local(source: Source, work: Path, limits: Limits, progress: Progress) -> Delivery:
    """Copy a folder or unpack an archive into a work folder.

    Links to files are followed, as the Hub's cache has them; links to folders are left out.

    Args:
        source: The path.
        work: Where to.
        limits: What may come.
        progress: Who wants to know.

    Raises:
        InputError: If it is neither folder nor archive, or too large.
        AdapterError: If it cannot be read, or an archive is broken or hostile.
        OutOfSpaceError: If the disk is too small.
    """
    path = Path(source.address)
    folder = clear_folder(work / "local")
    origin = {"path": str(path.resolve())}
    if path.is_dir():
        notes = _copy(path, folder, limits, progress)
    elif archive_kind(path) is not None:
        notes = unpack(path, folder, limits, progress)
        folder = without_wrapping(folder)
        origin["archive_bytes"] = str(path.stat().st_size)
    else:
        raise InputError(f"{path} is neither a folder nor an archive. Give the adapter's folder.")
    return Delivery(folder, tuple(list_files(folder)), origin=origin, notes=tuple(notes))


def _walk(path: Path) -> tuple[list[Path], list[str]]:
    """Return the files of a folder, and what is left out of it."""
    files: list[Path] = []
    left: list[str] = []

    def fail(error: OSError) -> None:
        raise AdapterError(f"Cannot read {error.filename}: {error.strerror}. Check permissions.")

    for here, folders, names in os.walk(path, onerror=fail):
        inside = Path(here)
        for name in list(folders):
            if name in _LEFT_OUT or (inside / name).is_symlink():
                folders.remove(name)
                left.append((inside / name).relative_to(path).as_posix() + "/")
        for name in names:
            if (inside / name).is_file():
                files.append(inside / name)
            else:
                left.append((inside / name).relative_to(path).as_posix())
    return sorted(files), left


def _copy(path: Path, folder: Path, limits: Limits, progress: Progress) -> list[str]:
    files, left = _walk(path)
    if not files:
        raise AdapterError(f"{path} holds no files. Give the adapter's folder.")
    sizes = [file.stat().st_size for file in files]
    if sum(sizes) > limits.total_bytes:
        raise too_large(str(path), sum(sizes), limits.total_bytes)
    if max(sizes) > limits.file_bytes:
        raise too_large(str(files[sizes.index(max(sizes))]), max(sizes), limits.file_bytes)
    if len(files) > limits.files:
        raise InputError(f"{path} holds {len(files)} files; at most {limits.files} are taken.")
    require_disk(folder, sum(sizes), "The copy")
    progress.begin(f"Copying {path.name}", sum(sizes))
    for file, size in zip(files, sizes, strict=True):
        target = folder / file.relative_to(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(file, target, size, progress)
    return [f"{', '.join(left)}: left out."] if left else []


def _copy_file(file: Path, target: Path, size: int, progress: Progress) -> None:
    try:
        with file.open("rb") as reader, HashingFile(target, expected=size) as writer:
            while block := reader.read(_CHUNK):
                writer.write(block)
                progress.advance(len(block))
        shutil.copystat(file, target)
    except OSError as error:
        raise AdapterError(
            f"Cannot copy {file}: {error.strerror or error}. Check its permissions."
        ) from None
