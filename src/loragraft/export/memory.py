"""How much memory this process takes of its own, and the most it took while it was watched."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

import psutil

SAMPLE_SECONDS = 0.05
"""A sample costs about 50 µs; blocks live for tens of milliseconds, so none is missed for long."""

_STATUS = Path("/proc/self/status")


def _status_bytes(field: str) -> int | None:
    """Return a field of the kernel's account of this process; None where there is none."""
    try:
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def anonymous_bytes() -> int:
    """Return the memory that belongs to this process alone.

    On Linux the kernel's ``RssAnon``: mapped files (the base checkpoint, shared libraries) are
    page cache that the system takes back when it needs it. Elsewhere the resident set, which
    counts those too.
    """
    told = _status_bytes("RssAnon")
    return told if told is not None else int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int:
    """Return the most memory that was ever resident, mapped files included."""
    told = _status_bytes("VmHWM")
    if told is not None:
        return told
    info = psutil.Process().memory_info()
    return int(getattr(info, "peak_wset", info.rss))


class PeakMemory:
    """Context manager that samples :func:`anonymous_bytes` and keeps the largest."""

    def __init__(self) -> None:
        """Prepare; sampling starts on entry."""
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, anonymous_bytes())

    def __enter__(self) -> PeakMemory:
        """Start sampling."""
        self.peak = anonymous_bytes()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take a last sample and stop."""
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_bytes())
