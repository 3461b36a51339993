"""One process at a time for one output."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loragraft.errors import InputError, LockedError, UnavailableError

# What file systems without locks answer: some network and FUSE mounts.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_WRITING = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ELOOP}


def _owner_path(path: Path) -> Path:
    # Beside the lock, not in it: opening a lock file may empty it, and Windows lets nobody
    # read a file that is locked.
    return path.with_name(path.name + ".owner")


def _describe_owner(path: Path) -> str:
    try:
        owner = json.loads(_owner_path(path).read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _write_owner(path: Path) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    # Only for the message: a full disk must not stop the work here.
    with suppress(OSError):
        _owner_path(path).write_text(json.dumps(owner), encoding="utf-8")


def _no_locks(path: Path) -> UnavailableError:
    return UnavailableError(
        f"{path} cannot be locked: its file system has no locks. Choose an output folder on a "
        "local disk."
    )


def _is_mere_file(lock: object) -> bool:
    """Whether filelock fell back to a file that a crash leaves behind as if it were held."""
    from filelock import SoftFileLock

    return isinstance(lock, SoftFileLock)


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold a lock file while the block runs; the system frees it when the process dies.

    Args:
        path: The lock file; its folder must exist. It stays behind, empty.

    Raises:
        LockedError: At once, if another holds it; names its process.
        UnavailableError: If the file system has no locks.
        InputError: If nobody may write there.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of that fallback, refused below
            lock.acquire(blocking=False)
    except Timeout:
        raise LockedError(
            f"{path} is held by {_describe_owner(path)}. Wait until it is done, stop it, or "
            "choose another name. The lock frees itself when that process ends."
        ) from None
    except NotImplementedError:
        raise _no_locks(path) from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, and a lock goes there: move it away.") from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise _no_locks(path) from None
        if error.errno not in _NO_WRITING:
            raise
        raise InputError(
            f"{path} cannot be written: {error.strerror}. A lock goes there while somebody "
            "writes: look who may write that folder, or choose another one."
        ) from None
    if _is_mere_file(lock):
        lock.release()
        raise _no_locks(path)
    try:
        _write_owner(path)
        yield
    finally:
        with suppress(OSError):
            _owner_path(path).unlink(missing_ok=True)
        lock.release()
