"""What of a run's folder is put aside, taken back, and whether it is what the run wrote."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from loragraft.artifact.files import sync_folder
from loragraft.artifact.hashing import sha256_file
from loragraft.errors import InputError
from loragraft.experiment.config import PREVIOUS
from loragraft.experiment.run_info import RUN_NAME, SAMPLES_NAME, RunInfo, read_run

_NO_ROOM = {getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EFBIG")}


def holds_something(folder: Path) -> bool:
    """Whether a folder has files of a run."""
    return any((folder / name).exists() for name in (RUN_NAME, SAMPLES_NAME))


def altered(folder: Path, info: RunInfo) -> bool:
    """Whether the samples' file is another than the run wrote when its last session ended.

    False of a run that is at work, or was killed at it: nobody noted what it had written.
    """
    path, told = folder / SAMPLES_NAME, info.samples
    if info.state == "running" or "sha256" not in told:
        return False
    try:
        return path.stat().st_size != told.get("bytes") or sha256_file(path) != told["sha256"]
    except OSError:
        return True


def set_aside(folder: Path) -> Path:
    """Move a run's folder to a name of its own, and return that."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    target = free_name(folder.with_name(f"{folder.name}{PREVIOUS}{stamp}"))
    with explained(folder):
        folder.rename(target)
        sync_folder(folder.parent)
    return target


def take_back(folder: Path, key: str) -> Path | None:
    """Give the newest run of a key that was set aside its name again; return the one it had.

    Raises:
        InputError: If it cannot be moved.
    """
    found = [path for path in folder.parent.glob(f"{folder.name}{PREVIOUS}*") if _key(path) == key]
    if not found or folder.exists():
        return None
    newest = max(found, key=lambda path: (path / RUN_NAME).stat().st_mtime_ns)
    with explained(folder):
        newest.rename(folder)
        sync_folder(folder.parent)
    return newest


def free_name(path: Path) -> Path:
    """Return a path, or one like it with a number, that nothing has yet."""
    number, free = 1, path
    while free.exists() or free.is_symlink():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _key(folder: Path) -> str | None:
    try:
        info = read_run(folder)
    except InputError:  # a newer loragraft's
        return None
    return None if info is None else info.key


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says of a path that cannot be written into our error.

    Raises:
        InputError: In place of an OSError; a full disk passes.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        raise InputError(
            f"{path} cannot be written: {error.strerror}. Look at what is there and who may write "
            "it, or choose another folder with --set outputs=FOLDER."
        ) from None
