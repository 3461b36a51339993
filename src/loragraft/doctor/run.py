"""All checks at once, each with an end: what hangs is said to hang, and nothing waits for it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.adapter.findings import Severity, worst
from loragraft.doctor.kernels import check_kernels
from loragraft.doctor.llama import check_llama
from loragraft.doctor.machine import (
    check_disks,
    check_memory,
    check_processor,
    check_python,
    check_temporary,
)
from loragraft.doctor.network import check_hub, check_network
from loragraft.doctor.ollama import check_ollama
from loragraft.doctor.packages import check_packages
from loragraft.doctor.registered import check_registered
from loragraft.doctor.rows import Row, Surroundings, note, shown
from loragraft.doctor.threads import check_threads
from loragraft.errors import LoragraftError

Check = Callable[[Surroundings], list[Row]]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("system.python", check_python),
    ("system.processor", check_processor),
    ("system.cores", check_threads),
    ("system.memory", check_memory),
    ("system.disk", check_disks),
    ("system.temporary", check_temporary),
    ("llama", check_llama),
    ("kernels", check_kernels),
    ("packages", check_packages),
    ("ollama", check_ollama),
    ("ollama.registered", check_registered),
    ("network.variables", check_network),
    ("network.hub", check_hub),
)
"""Name and check, in the order they are shown; the name is used where a check has no answer."""

SECONDS = 8.5
"""For all checks together, which run side by side: with the start of Python, ten at most."""


@dataclass(frozen=True)
class Diagnosis:
    """What all checks say.

    Attributes:
        rows: In the checks' order.
        seconds: They took.
    """

    rows: tuple[Row, ...]
    seconds: float

    @property
    def verdict(self) -> Severity:
        """The worst of the findings."""
        return worst(row.finding for row in self.rows)

    @property
    def kernel_folders(self) -> tuple[Path, ...]:
        """Where numba keeps our compiled kernels, if it answered."""
        caches = [row.facts.get("caches", ()) for row in self.rows]
        return tuple(Path(folder) for folders in caches for folder in folders)

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON values."""
        return {
            "verdict": self.verdict.value,
            "seconds": round(self.seconds, 2),
            "findings": [row.to_json() for row in self.rows],
        }


def examine(
    surroundings: Surroundings,
    checks: Sequence[tuple[str, Check]] = CHECKS,
    seconds: float = SECONDS,
) -> Diagnosis:
    """Run checks side by side.

    Args:
        surroundings: What to look at.
        checks: Which.
        seconds: After which no answer is waited for; a check that hangs (a dead network drive, a
            server that swallows packets) is left behind.
    """
    start = time.monotonic()
    answers: queue.SimpleQueue[tuple[int, list[Row] | Exception]] = queue.SimpleQueue()
    for index, (name, check) in enumerate(checks):
        # Daemons: the process ends without them.
        arguments = (index, name, check, surroundings, answers)
        threading.Thread(target=_run, args=arguments, daemon=True).start()
    found: dict[int, list[Row]] = {}
    while len(found) < len(checks) and (left := start + seconds - time.monotonic()) > 0:
        try:
            index, answer = answers.get(timeout=left)
        except queue.Empty:
            break
        if isinstance(answer, Exception):
            raise answer
        found[index] = answer
    rows = [
        row
        for index, (name, _) in enumerate(checks)
        for row in found.get(index, [_no_answer(name, seconds)])
    ]
    return Diagnosis(tuple(rows), time.monotonic() - start)


def _run(
    index: int,
    name: str,
    check: Check,
    surroundings: Surroundings,
    answers: queue.SimpleQueue[tuple[int, list[Row] | Exception]],
) -> None:
    """Run a check in its thread; what the system or a part refuses is an answer, a bug is not."""
    try:
        answers.put((index, check(surroundings)))
    except (OSError, LoragraftError) as error:
        step = "Look at what it names; nothing else depends on this check."
        answers.put((index, [note(name, shown(str(error)), "an answer", step)]))
    except Exception as error:  # raised again where it can be seen
        answers.put((index, error))


def _no_answer(name: str, seconds: float) -> Row:
    return note(
        name,
        f"no answer within {seconds:g} s",
        "an answer",
        "Run doctor again on an idle machine; if it stays so, a disk or a server hangs.",
    )
