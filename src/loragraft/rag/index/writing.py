"""One writer at a time: lock an index, tidy up after whoever died, commit a new state."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loragraft.artifact.files import sync_file, sync_folder
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.lock import hold_lock
from loragraft.artifact.space import explain_full_disk
from loragraft.errors import BundleError, InputError
from loragraft.rag.index.layout import (
    INDEX_NAME,
    LOCK_NAME,
    WORK_NAME,
    FileInfo,
    IndexInfo,
    file_name,
    is_ours,
    read_info,
    write_info,
)
from loragraft.rag.index.options import PartWriter


@contextmanager
def write_access(target: Path) -> Iterator[Path]:
    """Lock an index, made if missing, while the block runs.

    Returns:
        The folder of unfinished work, which is there.

    Raises:
        LockedError: If another process writes.
        BundleError: If something else is there.
        InputError: If nothing can be written there.
    """
    try:
        _check_target(target)
        target.mkdir(parents=True, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise _cannot_write(target, error) from None
    with _lock(target):
        work = target / WORK_NAME
        work.mkdir(exist_ok=True)
        try:
            yield work
        finally:
            with suppress(OSError):  # what is in it is kept for the next run
                work.rmdir()


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    try:
        with hold_lock(target / LOCK_NAME):
            yield
    except PermissionError as error:
        raise _cannot_write(target, error) from None


def _cannot_write(target: Path, error: OSError) -> InputError:
    return InputError(
        f"Nothing can be written into {target}: {error.strerror}. Choose another folder for the "
        "index."
    )


def _check_target(target: Path) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise BundleError(f"{target} is there and is no folder. Choose another name.")
    names = {entry.name for entry in target.iterdir()}
    if names and not names & {INDEX_NAME, WORK_NAME, LOCK_NAME}:
        raise BundleError(
            f"{target} is there and is no index: nothing is written into it. Move it away or "
            "choose another name."
        )


def current(target: Path) -> IndexInfo | None:
    """Return the committed state; None where there is none yet."""
    return read_info(target) if (target / INDEX_NAME).exists() else None


def last_generation(target: Path) -> int:
    """Return the highest number that any file here bears, valid or not."""
    numbers = [
        int(entry.name.partition("-")[2].partition(".")[0])
        for entry in target.iterdir()
        if is_ours(entry.name)
    ]
    return max(numbers, default=0)


def tidy(target: Path, info: IndexInfo | None) -> None:
    """Delete what no committed state names; files that somebody has open may stay (Windows)."""
    named = set() if info is None else {file.name.partition("/")[0] for file in info.all_files}
    for entry in target.iterdir():
        if is_ours(entry.name) and entry.name not in named:
            with suppress(OSError):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def adopt(path: Path, target: Path, role: str, generation: int) -> FileInfo:
    """Move a finished file of the work folder to its name, flushed and hashed."""
    name = file_name(role, generation)
    with explain_full_disk(path):
        sync_file(path)
    path.replace(target / name)
    return describe(target, name)


def describe(target: Path, name: str) -> FileInfo:
    """Return name, size and hash of a file of an index."""
    path = target / name
    return FileInfo(name, path.stat().st_size, sha256_file(path))


def write_part(
    target: Path, name: str, generation: int, write: PartWriter, store: Path
) -> tuple[FileInfo, ...]:
    """Let something else that belongs to the index be written, flushed and hashed."""
    from loragraft.rag.index.chunk_store import ChunkStore

    folder = target / file_name(name, generation)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with explain_full_disk(folder), ChunkStore(store) as chunks:
        write(folder, chunks.iterate())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with explain_full_disk(folder):
        for path in files:
            sync_file(path)
    sync_folder(folder)
    return tuple(describe(target, path.relative_to(target).as_posix()) for path in files)


def commit(target: Path, info: IndexInfo) -> None:
    """Make a state the valid one, then delete the one before and the work that led to it.

    Raises:
        OutOfSpaceError: If the disk is full; the old state stays valid.
    """
    sync_folder(target)
    write_info(target, info)
    tidy(target, info)
    shutil.rmtree(target / WORK_NAME, ignore_errors=True)
