"""Small files written whole or not at all, and folders flushed to the disk."""

from __future__ import annotations

import os
from pathlib import Path

from loragraft.artifact.space import explain_full_disk

_ON_WINDOWS = os.name == "nt"


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
