"""Hashes of large files that do not change, remembered from one run to the next.

Hashing a base checkpoint costs as much processor time as a quarter of its export, and the same
base is exported many times. A file counts as unchanged while its path, size, modification time
(to the nanosecond), inode and device stay the same, as git decides it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loragraft.artifact.files import write_atomically
from loragraft.artifact.hashing import sha256_file
from loragraft.errors import LoragraftError

MAX_ENTRIES = 4096
"""Newest kept: a cache of a megabyte at most."""


def cache_folder() -> Path:
    """Return where loragraft keeps what it can make again: ``LORAGRAFT_CACHE`` or the user's.

    Raises:
        RuntimeError: If the user has no home folder.
    """
    given = os.environ.get("LORAGRAFT_CACHE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "loragraft"


def file_identity(path: Path) -> list[int]:
    """Return what tells a changed file: size, modification time (ns), inode and device."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev]


def _load(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_known(entry: object, identity: list[int]) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("identity") == identity
        and isinstance(entry.get("sha256"), str)
        and len(entry["sha256"]) == 64
    )


def cached_sha256(
    path: Path, cache: Path | None = None, on_bytes: Callable[[int], object] | None = None
) -> str:
    """Return a file's SHA-256, from the cache where the file has not changed since.

    Args:
        path: The file.
        cache: The cache's file, ``hashes.json`` in :func:`cache_folder` by default. A missing,
            broken or unwritable cache only costs time.
        on_bytes: Called with the size of every block that is read.
    """
    store = cache or _default_store()
    if store is None:
        return sha256_file(path, on_bytes)
    key, identity = str(path.resolve()), file_identity(path)
    entry = _load(store).get(key)
    if _is_known(entry, identity):
        return str(entry["sha256"])  # type: ignore[index]
    digest = sha256_file(path, on_bytes)
    if file_identity(path) == identity:
        _remember(store, key, {"identity": identity, "sha256": digest})
    return digest


def _default_store() -> Path | None:
    try:
        return cache_folder() / "hashes.json"
    except RuntimeError:  # no HOME, and no entry of this user in the system's list
        return None


def _remember(store: Path, key: str, entry: dict[str, Any]) -> None:
    known = _load(store)  # read again: another process may have added to it meanwhile
    known.pop(key, None)
    kept = dict([*known.items(), (key, entry)][-MAX_ENTRIES:])
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(store, json.dumps(kept).encode())
    except (OSError, LoragraftError):  # a full disk is no reason to end an export
        return
