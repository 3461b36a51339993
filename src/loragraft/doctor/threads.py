"""How many cores there are, and what holds threads back from them."""

from __future__ import annotations

import os
from typing import Any

from loragraft.doctor.rows import Row, Surroundings, fine, note
from loragraft.engine.threads import allowed_cores, cpu_quota


def check_threads(surroundings: Surroundings) -> list[Row]:
    """Say how many cores there are, and what holds threads back from them."""
    usable, machine = allowed_cores(), os.cpu_count() or 1
    quota = cpu_quota()
    facts: dict[str, Any] = {"usable": usable, "machine": machine, "quota": quota}
    expected = "a thread for every core"
    words = f"{usable} of {machine} cores may be used"
    limits = {
        name: text for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT")
        if (text := surroundings.environ.get(name, "")).isdigit() and 0 < int(text[:9]) < usable
    }  # fmt: skip
    if quota is not None and quota < usable:
        step = (
            f"Raise the container's limit, or give --threads {max(1, int(quota))}: more threads "
            "than that wait for each other."
        )
        words += f", but a limit of the container allows {quota:g} at a time"
        return [note("system.cores", words, expected, step, facts)]
    if limits:
        words += (
            f"; {', '.join(f'{name}={text}' for name, text in limits.items())} holds threads back"
        )
        step = f"Unset {' and '.join(limits)} where nothing else needs it."
        return [note("system.cores", words, expected, step, facts)]
    return [fine("system.cores", words, expected, facts=facts)]
