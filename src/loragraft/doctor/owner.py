"""Whether a lock is held, told without taking it: a run that starts meanwhile must not fail."""

from __future__ import annotations

import json
import socket
from pathlib import Path


def lock_owner(lock: Path) -> str:
    """Return who holds a lock, as a reason to keep what it guards; empty if nobody seems to.

    Only a look: whoever acts on it takes the lock itself.

    Args:
        lock: The lock's file; the note of its owner lies beside it (artifact/lock).
    """
    import psutil

    note = lock.with_name(f"{lock.name}.owner")
    try:
        owner = json.loads(note.read_text(encoding="utf-8"))
        pid, host = int(owner["pid"]), str(owner["host"])
        if host == socket.gethostname() and not psutil.pid_exists(pid):
            return ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return ""
    where = "" if host == socket.gethostname() else f" on {host}"
    return f"process {pid}{where} is working on it"
