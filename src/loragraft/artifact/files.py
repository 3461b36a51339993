"""Small files written whole or not at all, and folders flushed to the disk."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from loragraft.artifact.space import explain_full_disk
from loragraft.errors import InputError

_ON_WINDOWS = os.name == "nt"


def open_regular(path: Path) -> BufferedReader:
    """Open a file to be read; a named pipe, for which open() would wait, is refused.

    Raises:
        OSError: If it cannot be opened, or is a folder.
        InputError: If it is a pipe, a device or the like.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise InputError(f"{path} is no regular file. Put a file there, or take it away.")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries (renames, new names) to the disk; nothing to do on Windows."""
    if _ON_WINDOWS:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Flush a file's bytes to the disk."""
    # Windows flushes only handles that may write; elsewhere reading is enough, and also
    # works for files that are read-only.
    with path.open("r+b" if _ON_WINDOWS else "rb") as file:
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below a folder, and the folder itself."""
    for here, _folders, files in os.walk(folder, topdown=False):
        for name in files:
            sync_file(Path(here) / name)
        sync_folder(Path(here))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file so that its name shows the old or the new content, never a part.

    Raises:
        OutOfSpaceError: If the disk is full; the old content stays.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with explain_full_disk(path, len(data)), draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
