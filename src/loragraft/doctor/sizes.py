"""How much a folder takes on the disk: counted without following links, and not for ever."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 512
"""Bytes of the unit that st_blocks counts, whatever the file system (POSIX)."""


@dataclass(frozen=True)
class Size:
    """What a tree takes.

    Attributes:
        bytes: On the disk, of files that have no other name outside: what its removal frees.
        files: Number of files.
        newest: Latest modification of anything in it, in seconds since 1970.
        whole: False where time ran out or something could not be read: then it is at least this.
    """

    bytes: int = 0
    files: int = 0
    newest: float = 0.0
    whole: bool = True

    def __add__(self, other: Size) -> Size:
        """Return both together."""
        return Size(
            self.bytes + other.bytes,
            self.files + other.files,
            max(self.newest, other.newest),
            self.whole and other.whole,
        )


def disk_bytes(stat: os.stat_result) -> int:
    """Return what a file takes on the disk; nothing for one that has further names."""
    if stat.st_nlink > 1:
        return 0
    blocks = getattr(stat, "st_blocks", None)
    return stat.st_size if blocks is None else int(blocks) * _BLOCK


def tree_size(path: Path, seconds: float = 5.0) -> Size:
    """Measure a file or a folder; a link counts as itself.

    Args:
        path: What to measure; if it is not there it takes nothing.
        seconds: After which the rest is left out.
    """
    end = time.monotonic() + seconds
    try:
        stat = path.lstat()
    except OSError:
        return Size()
    if not path.is_dir() or path.is_symlink():
        return Size(disk_bytes(stat), 1, stat.st_mtime)
    total, files, newest, whole = 0, 0, stat.st_mtime, True
    waiting = [str(path)]
    while waiting:
        if time.monotonic() > end:
            return Size(total, files, newest, False)
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    stat = entry.stat(follow_symlinks=False)
                    newest = max(newest, stat.st_mtime)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total, files = total + disk_bytes(stat), files + 1
        except OSError:  # unreadable, or gone meanwhile
            whole = False
    return Size(total, files, newest, whole)
