"""How many threads to use where nobody says, and how many there may be."""

from __future__ import annotations

import math
import os

from loragraft.errors import InputError

OMP_VARIABLE = "OMP_NUM_THREADS"
"""What users of numerical programs set to share a machine; torch and llama.cpp's builds obey it."""
MAX_THREADS = 512
"""llama.cpp's own limit (GGML_MAX_N_THREADS): beyond it the process crashes."""


def usable_cores() -> int:
    """Cores that this process may run on, at most those whose time a container may use."""
    quota = cpu_quota()
    cores = allowed_cores()
    return cores if quota is None else min(cores, max(1, math.ceil(quota)))


def allowed_cores() -> int:
    """Cores that this process may run on, whatever share of their time it gets."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """One thread for each usable core, or fewer where ``OMP_NUM_THREADS`` says so."""
    asked = os.environ.get(OMP_VARIABLE, "").partition(",")[0].strip()
    cores = min(usable_cores(), MAX_THREADS)
    return min(int(asked[:9]), cores) if asked.isdecimal() and int(asked[:9]) > 0 else cores


def choose_threads(wanted: int) -> int:
    """Return the threads to use; 0 wants the default.

    Raises:
        InputError: If there cannot be so many.
    """
    if not 0 <= wanted <= MAX_THREADS:
        raise InputError(
            f"{wanted} threads were asked for; from 1 to {MAX_THREADS} can be had, or 0 for one "
            "for each core."
        )
    return wanted or default_threads()


def cpu_quota(
    v2: str = "/sys/fs/cgroup/cpu.max", v1: str = "/sys/fs/cgroup/cpu/cpu.cfs_"
) -> float | None:
    """Return how many cores' time a container may use, None where nothing limits it."""
    try:
        with open(v2, encoding="ascii") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        try:
            with open(f"{v1}quota_us", encoding="ascii") as first:
                quota = first.read().strip()
            with open(f"{v1}period_us", encoding="ascii") as second:
                period = second.read().strip()
        except (OSError, ValueError):
            return None
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return cores if cores > 0 else None
