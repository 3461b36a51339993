"""Progress on stderr: a bar in a terminal, a line every tenth elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from loragraft.artifact.progress import Progress
from loragraft.artifact.space import format_bytes

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

STEP = 0.1
"""Share of a stage between two lines where stderr is no terminal."""
PAUSE_SECONDS = 1.0
"""Between two lines at least: what is done in a moment needs none."""


class LineProgress:
    """Plain lines for logs and pipes."""

    def __init__(self) -> None:
        """Begin without a stage."""
        self._lock = threading.Lock()
        self._stage, self._total, self._done, self._next = "", 0, 0, STEP
        self._start = self._last = 0.0

    def begin(self, stage: str, total: int) -> None:
        """Name the stage."""
        with self._lock:
            self._stage, self._total, self._done, self._next = stage, total, 0, STEP
            self._start = self._last = time.monotonic()
        self.note(f"{stage} ({format_bytes(total)})" if total else stage)

    def advance(self, count: int) -> None:
        """Print a line when another tenth is done."""
        with self._lock:
            self._done += count
            if not self._total or self._done / self._total < self._next:
                return
            now = time.monotonic()
            if now - self._last < PAUSE_SECONDS:
                return
            share = self._done / self._total
            self._next, self._last = share + STEP, now
            rate = self._done / max(now - self._start, 1e-6)
        self.note(f"{self._stage}: {share:.0%}, {format_bytes(rate)}/s")

    def note(self, text: str) -> None:
        """Print a sentence."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is the output

    def end(self) -> None:
        """Do nothing: lines need no closing."""


class BarProgress:
    """A bar with bytes, rate and time left."""

    def __init__(self) -> None:
        """Begin without a stage."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as RichProgress

        self._rich: RichProgress = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: TaskID | None = None

    def begin(self, stage: str, total: int) -> None:
        """Start a bar, ending the one before."""
        if self._task is None:
            self._rich.start()
        else:
            self._rich.remove_task(self._task)
        self._task = self._rich.add_task(stage, total=total or None)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._rich.advance(self._task, count)

    def note(self, text: str) -> None:
        """Print a sentence above the bar."""
        self._rich.console.print(text, highlight=False, markup=False)

    def end(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._rich.stop()
            self._task = None


def make_progress() -> Progress:
    """Return what suits where stderr goes."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()
