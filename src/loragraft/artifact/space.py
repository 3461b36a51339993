"""Room on the disk and in memory: asked for before the work, explained when it runs out."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loragraft.errors import OutOfMemoryError, OutOfSpaceError

_UNITS = ("KiB", "MiB", "GiB", "TiB")
_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}

# A cgroup without a limit reports 2^63 rounded down to a page (v1) or the word "max" (v2).
_NO_LIMIT = 1 << 60
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def format_bytes(count: float) -> str:
    """Spell a number of bytes for people, in binary units: ``1.5 GiB``."""
    value = float(count)
    if abs(value) < 1024:
        return f"{int(value)} B"
    unit = _UNITS[0]
    for unit in _UNITS:  # noqa: B007 - used after the loop
        value /= 1024
        if abs(value) < 1024:
            break
    return f"{value:.1f} {unit}"


def _existing_parent(path: Path) -> Path:
    """Return the nearest folder on the way up that exists."""
    folder = path.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def free_disk(path: Path) -> int:
    """Bytes that this user may still write where a path lies, or will lie."""
    return shutil.disk_usage(_existing_parent(path)).free


def require_disk(path: Path, needed: int, purpose: str = "The output") -> None:
    """Refuse to start where the disk is too small.

    Args:
        path: Where the bytes will go; it need not exist yet.
        needed: Bytes that will be written.
        purpose: What needs them, as the subject of a sentence.

    Raises:
        OutOfSpaceError: Naming the amount that is missing.
    """
    free = free_disk(path)
    if free < needed:
        raise OutOfSpaceError(
            f"{purpose} needs {format_bytes(needed)} on the disk of {path}, which has "
            f"{format_bytes(free)} free: {format_bytes(needed - free)} are missing. "
            "Free that much, or choose another output folder."
        )


@contextmanager
def explain_full_disk(path: Path, still_needed: int | None = None) -> Iterator[None]:
    """Turn the system's "no space left" into our error, naming the amount missing.

    Args:
        path: The file that is being written.
        still_needed: Bytes that were still to come, if known.

    Raises:
        OutOfSpaceError: In place of ENOSPC, EDQUOT and EFBIG; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise OutOfSpaceError(
                f"{path} may not grow further: the file system or a limit of this process "
                f"(ulimit -f) allows no larger file.{_still(still_needed)} "
                "Choose an output folder on another file system, or raise the limit."
            ) from error
        if error.errno not in _FULL:
            raise
        raise OutOfSpaceError(_full_message(path, still_needed)) from error


def _still(still_needed: int | None) -> str:
    return "" if still_needed is None else f" {format_bytes(still_needed)} were still to come."


def _full_message(path: Path, still_needed: int | None) -> str:
    free = free_disk(path)
    if still_needed is None:
        missing = f"It has {format_bytes(free)} left."
    else:
        # A quota may end the room before the disk does: then all of the rest is missing.
        short = still_needed - free if still_needed > free else still_needed
        missing = f"At least {format_bytes(max(short, 1))} are missing."
    return (
        f"The disk filled up while {path} was written. {missing} "
        "Free that much and run the same command again, or choose another output folder."
    )


def _read_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _reclaimable(stat: str) -> int:
    """Bytes of page cache that a cgroup gives back before it refuses memory."""
    try:
        lines = Path(stat).read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    values = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(values.get("total_inactive_file") or values.get("inactive_file") or 0)


def _cgroup_available() -> int | None:
    """Memory left under a container's limit, or None where there is none."""
    for limit_file, usage_file, stat_file in _CGROUPS:
        limit, usage = _read_number(limit_file), _read_number(usage_file)
        if limit is not None and usage is not None and limit < _NO_LIMIT:
            return max(0, limit - usage + _reclaimable(stat_file))
    return None


def available_memory() -> int:
    """Bytes this process can take without swapping, a container's limit included."""
    import psutil

    free = int(psutil.virtual_memory().available)
    limited = _cgroup_available()
    return free if limited is None else min(free, limited)


def machine_memory() -> int:
    """Bytes of memory that this machine or container has, whoever uses them now."""
    import psutil

    total = int(psutil.virtual_memory().total)
    limits = (_read_number(limit) for limit, _, _ in _CGROUPS)
    return min([total, *(limit for limit in limits if limit is not None)])


def require_memory(needed: int, purpose: str, alternative: str) -> None:
    """Refuse a way that this machine has too little memory for.

    Args:
        needed: Bytes of anonymous memory the way takes at its peak.
        purpose: What needs it, as the subject of a sentence.
        alternative: The way that would do instead, as a sentence.

    Raises:
        OutOfMemoryError: Naming what is there, what is needed and the alternative.
    """
    free = available_memory()
    if free < needed:
        raise OutOfMemoryError(
            f"{purpose} needs about {format_bytes(needed)} of memory; {format_bytes(free)} "
            f"are available. {alternative}"
        )
