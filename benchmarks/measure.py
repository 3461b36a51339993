"""Run a command as a whole process and account for its time, memory and writing.

Linux only: memory and bytes come from /proc, sampled every 20 ms over the whole process tree.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

SAMPLE_SECONDS = 0.02


@dataclass
class Measurement:
    """One run: seconds, and bytes.

    ``peak_anonymous`` is of the largest single process of the tree, ``peak_tree`` the largest
    sum over it; both count memory of their own (RssAnon), not mapped files. ``main_anonymous`` is
    of the first process alone.
    """

    wall: float
    cpu: float
    main_anonymous: int
    peak_anonymous: int
    peak_tree: int
    written: int


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def _tree(pid: int) -> list[int]:
    pids, queue = [], [pid]
    while queue:
        current = queue.pop()
        pids.append(current)
        for task in Path(f"/proc/{current}/task").glob("*"):
            queue.extend(int(child) for child in _read(f"{task}/children").split())
    return pids


def run_measured(command: list[str], log: Path, cwd: Path | None = None) -> Measurement:
    """Run a command to its end, its output going to ``log``; raises if it fails."""
    start = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=cwd)
    main = largest = tree = 0
    written: dict[int, int] = {}
    while True:
        sizes = {}
        for pid in _tree(process.pid):
            sizes[pid] = _field(_read(f"/proc/{pid}/status"), "RssAnon") * 1024
            count = _field(_read(f"/proc/{pid}/io"), "write_bytes")
            written[pid] = max(written.get(pid, 0), count)
        main = max(main, sizes.get(process.pid, 0))
        largest = max(largest, *sizes.values())
        tree = max(tree, sum(sizes.values()))
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            wall = time.perf_counter() - start
            break
        time.sleep(SAMPLE_SECONDS)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}:\n{tail}")
    cpu = usage.ru_utime + usage.ru_stime
    return Measurement(wall, cpu, main, largest, tree, sum(written.values()))


def add_up(parts: list[Measurement]) -> Measurement:
    """Put processes that ran one after the other together."""
    return Measurement(
        wall=sum(p.wall for p in parts),
        cpu=sum(p.cpu for p in parts),
        main_anonymous=max(p.main_anonymous for p in parts),
        peak_anonymous=max(p.peak_anonymous for p in parts),
        peak_tree=max(p.peak_tree for p in parts),
        written=sum(p.written for p in parts),
    )


def medians(runs: list[Measurement]) -> dict[str, Any]:
    """Return the median of each figure over several runs."""
    return {key: median(asdict(run)[key] for run in runs) for key in asdict(runs[0])}
