"""How many threads to use where nobody says."""

from __future__ import annotations

import os

OMP_VARIABLE = "OMP_NUM_THREADS"
"""What users of numerical programs set to share a machine; torch and llama.cpp's builds obey it."""


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """One thread for each usable core, or fewer where ``OMP_NUM_THREADS`` says so."""
    asked = os.environ.get(OMP_VARIABLE, "").partition(",")[0].strip()
    cores = usable_cores()
    return min(int(asked), cores) if asked.isdecimal() and int(asked) > 0 else cores
