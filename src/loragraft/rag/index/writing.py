"""One writer at a time: lock an index, tidy up after whoever died, commit a new state."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from loragraft.adapter.findings import quote
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

_UNFINISHED = re.compile(rf"\.{re.escape(INDEX_NAME)}\.\d+\.tmp")
"""What a kill leaves of an index.json that was just being written."""


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
    with _explain(target):
        _check_target(target)
        target.mkdir(parents=True, exist_ok=True)
    with _lock(target):
        work = target / WORK_NAME
        with _explain(target):
            work.mkdir(exist_ok=True)
        try:
            yield work
        finally:
            with suppress(OSError):  # what is in it is kept for the next run
                work.rmdir()


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    with ExitStack() as stack:
        with _explain(target):
            stack.enter_context(hold_lock(target / LOCK_NAME))
        yield


@contextmanager
def _explain(target: Path) -> Iterator[None]:
    """Say in words that nothing can be written."""
    try:
        with explain_full_disk(target):
            yield
    except (OSError, ValueError) as error:  # the latter of a name that no file can have
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(
            f"Nothing can be written into {target}: {reason}. Choose another folder for the index."
        ) from None


def _check_target(target: Path) -> None:
    str(target).encode()  # FAISS knows no other names
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise BundleError(f"{target} is there and is no folder. Choose another name.")
    others = [entry.name for entry in target.iterdir() if not _may_be_there(entry.name)]
    if others and not _is_index(target):
        raise BundleError(
            f"{target} is there and is no index (it holds {quote(others)}): nothing is written "
            "into it. Move it away or choose another name."
        )


def _may_be_there(name: str) -> bool:
    """Whether a file may lie in the folder of an index that was never finished, or is damaged."""
    ours = name in (INDEX_NAME, WORK_NAME) or name.startswith(LOCK_NAME)
    return ours or is_ours(name) or _UNFINISHED.fullmatch(name) is not None


def _is_index(target: Path) -> bool:
    try:
        read_info(target)
    except InputError:
        return False
    return True


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
        ours = is_ours(entry.name) or _UNFINISHED.fullmatch(entry.name) is not None
        if ours and entry.name not in named:
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
    forget_work(target)


def forget_work(target: Path) -> None:
    """Delete what unfinished runs have left for a state that nobody wants any more."""
    shutil.rmtree(target / WORK_NAME, ignore_errors=True)
