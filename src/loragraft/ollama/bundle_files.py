"""Small files of a published bundle are replaced together with its checksum list.

The new files lie beside the old ones, hidden, before the list names them; a crash in between is
finished or undone by the next run, so that no bundle is left with a list that does not fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from loragraft.artifact.checksums import read_checksums, write_checksums
from loragraft.artifact.files import sync_folder, write_atomically
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.lock import hold_lock
from loragraft.errors import InputError

_NEXT = ".next"


def update_files(folder: Path, change: Callable[[], Mapping[str, bytes]]) -> bool:
    """Replace files of a bundle and their lines in ``checksums.txt``.

    Args:
        folder: The bundle.
        change: Says, under the lock, what each file shall hold.

    Returns:
        Whether anything differed.

    Raises:
        LockedError: If another process works on the bundle.
        InputError: If it cannot be written to.
        OutOfSpaceError: If the disk is full; nothing has changed then.
    """
    try:
        with hold_lock(folder.with_name(f".{folder.name}.lock")):
            _finish(folder)
            return _replace(folder, change())
    except OSError as error:
        raise InputError(
            f"Nothing can be written into {folder}: {error.strerror}. Copy the bundle to a folder "
            "of yours."
        ) from None


def finish_update(folder: Path) -> None:
    """Finish or undo what a crash interrupted; does nothing where nothing was.

    Raises:
        LockedError: If another process works on the bundle.
    """
    if any(folder.glob(f".*{_NEXT}")):
        with hold_lock(folder.with_name(f".{folder.name}.lock")):
            _finish(folder)


def _finish(folder: Path) -> None:
    digests = read_checksums(folder)
    for draft in folder.glob(f".*{_NEXT}"):
        name = draft.name[1 : -len(_NEXT)]
        if digests.get(name) == sha256_file(draft):
            _rename(folder, name)
        else:
            draft.unlink()
    sync_folder(folder)


def _replace(folder: Path, files: Mapping[str, bytes]) -> bool:
    digests = read_checksums(folder)
    new = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    changed = {name for name in files if digests.get(name) != new[name]}
    for name in changed:
        write_atomically(folder / f".{name}{_NEXT}", files[name])
    if changed:
        write_checksums(folder, {**digests, **new})
    for name in changed:
        _rename(folder, name)
    sync_folder(folder)
    return bool(changed)


def _rename(folder: Path, name: str) -> None:
    (folder / f".{name}{_NEXT}").replace(folder / name)
