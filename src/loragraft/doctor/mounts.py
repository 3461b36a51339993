"""What is mounted where, as far as the system tells without touching it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
"""File systems whose files take memory, not disk."""


@dataclass(frozen=True)
class Mount:
    """A mounted file system: the folder it appears at, and its kind (``ext4``)."""

    folder: Path
    kind: str


def mounts() -> tuple[Mount, ...]:
    """List what is mounted; nothing where the system does not tell."""
    import psutil

    try:
        found = psutil.disk_partitions(all=True)
    except OSError:
        return ()
    return tuple(Mount(Path(part.mountpoint), part.fstype) for part in found)


def mount_of(path: Path, known: Iterable[Mount]) -> Mount | None:
    """Return the file system that a path lies on: the last one mounted closest above it."""
    place = Path(os.path.realpath(path))
    above = [mount for mount in known if place == mount.folder or mount.folder in place.parents]
    return max(reversed(above), key=lambda mount: len(mount.folder.parts), default=None)


def mounted_inside(path: Path, known: Iterable[Mount]) -> Path | None:
    """Return a mount point at a path or below it: what lies there is not the path's own."""
    place = Path(os.path.abspath(path))
    return next((m.folder for m in known if m.folder == place or place in m.folder.parents), None)
