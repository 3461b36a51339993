"""The most memory that this process has held."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

RESET = Path("/proc/self/clear_refs")
"""Linux: 5 written there sets the peak to what the process holds now (proc_pid_clear_refs(5))."""


def peak_memory() -> int | None:
    """Return the largest resident size of this process so far, in bytes; None where it is unknown.

    Pages of a model's file that llama.cpp maps count while they are in memory.
    """
    if sys.platform == "win32":
        import psutil

        peak = getattr(psutil.Process().memory_info(), "peak_wset", None)
        return int(peak) if peak is not None else None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak() -> None:
    """Let the peak begin anew, where the system can: an experiment's is not that of the last one.

    Elsewhere than on Linux it stays the peak of the whole process.
    """
    with suppress(OSError):
        RESET.write_text("5", encoding="ascii")
