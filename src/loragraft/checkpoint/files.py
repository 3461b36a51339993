"""Small text files of strangers, read whole but never without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_SMALL_BYTES = 64 * 1024 * 1024
"""Index files of the largest models have some 10 MB, tokenizer_config.json some MB."""


def require_regular(path: Path) -> int:
    """Return a file's size; links are followed.

    Raises:
        OSError: If it cannot be looked at.
        ValueError: If it is no regular file: a pipe or a device may block or never end.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    return status.st_size


def read_small(path: Path, limit: int = MAX_SMALL_BYTES) -> bytes:
    """Read a file whole.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no regular file, or longer than ``limit`` bytes.
    """
    require_regular(path)
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return content
