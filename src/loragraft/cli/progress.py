"""Progress on stderr: a bar in a terminal, a line every tenth elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from loragraft.artifact.progress import BYTES, Progress, format_seconds
from loragraft.artifact.space import format_bytes

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

STEP = 0.1
"""Share of a stage between two lines where stderr is no terminal."""
PAUSE_SECONDS = 1.0
"""Between two lines at least: what is done in a moment needs none."""
WHILE_SECONDS = 20.0
"""Between two lines where nobody knows how much there is."""


def _amount(count: float, unit: str) -> str:
    if unit == BYTES:
        return format_bytes(count)
    return f"{count:,.0f} {unit}" if count >= 100 or count == int(count) else f"{count:.1f} {unit}"


def _done(count: float, total: float | None, unit: str) -> str:
    """Spell how much of how much, short enough to leave a bar its room in 80 columns."""
    if not total:
        return _amount(count, unit)
    if unit == BYTES:
        return f"{format_bytes(count)} of {format_bytes(total)}"
    return f"{count:,.0f} of {total:,.0f} {unit}"


def _rate(speed: float, unit: str) -> str:
    """Spell a speed; where one takes more than a second, how long it takes."""
    if unit == BYTES:
        return f"{format_bytes(speed)}/s"
    return f"{speed:,.1f}/s" if speed >= 1 else f"{1 / speed:,.1f} s each"


class LineProgress:
    """Plain lines for logs and pipes."""

    def __init__(self) -> None:
        """Begin without a stage."""
        self._lock = threading.Lock()
        self._stage, self._total, self._done, self._next = "", 0, 0, STEP
        self._unit = BYTES
        self._start = self._last = 0.0
        self._first: tuple[int, float] | None = None

    def begin(self, stage: str, total: int, unit: str = BYTES) -> None:
        """Name the stage."""
        with self._lock:
            self._unit = unit
            self._stage, self._total, self._done, self._next = stage, total, 0, STEP
            self._start = self._last = time.monotonic()
            self._first = None
        self.note(f"{stage} ({_amount(total, unit)})" if total else stage)

    def advance(self, count: int) -> None:
        """Print a line when another tenth is done; of an unknown total, once in a while."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            self._first = self._first or (self._done, now)
            if not self._total and now - self._last >= WHILE_SECONDS:
                self._last = now
                self.note(f"{self._stage}: {_amount(self._done, self._unit)} so far")
            if not self._total or self._done / self._total < self._next:
                return
            if now - self._last < PAUSE_SECONDS:
                return
            share = self._done / self._total
            self._next, self._last = share + STEP, now
            rate = self._speed(now)
            left = format_seconds((self._total - self._done) / max(rate, 1e-6))
        self.note(f"{self._stage}: {share:.0%}, {_rate(rate, self._unit)}, {left} left")

    def _speed(self, now: float) -> float:
        """Return how many a second; what a resumed run has done already comes first, at once."""
        first, since = self._first or (0, self._start)
        if first == self._done:
            first, since = 0, self._start
        return (self._done - first) / max(now - since, 1e-6)

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
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._rich: RichProgress = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: TaskID | None = None
        self._unit = BYTES

    def begin(self, stage: str, total: int, unit: str = BYTES) -> None:
        """Start a bar, ending the one before."""
        if self._task is None:
            self._rich.start()
        else:
            self._rich.remove_task(self._task)
        self._unit = unit
        self._task = self._rich.add_task(stage, total=total or None, amount="")

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._task is None:
            return
        self._rich.advance(self._task, count)
        task = self._rich.tasks[0]
        rate = f", {_rate(task.speed, self._unit)}" if task.speed else ""
        self._rich.update(self._task, amount=_done(task.completed, task.total, self._unit) + rate)

    def note(self, text: str) -> None:
        """Print a sentence above the bar."""
        self._rich.console.print(text, highlight=False, markup=False)

    def end(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._rich.stop()
            self._rich.remove_task(self._task)  # or the next bar would stand below this one
            self._task = None


def make_progress() -> Progress:
    """Return what suits where stderr goes."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


@contextmanager
def watched(kept: Callable[[], str]) -> Iterator[Progress]:
    """Show progress while the block runs; say after Ctrl-C that nothing is lost.

    Args:
        kept: Says what is kept, once that is asked for: "What was read is kept".
    """
    progress = make_progress()
    try:
        yield progress
    except KeyboardInterrupt:
        progress.end()
        click.echo(f"\n{kept()}: the same command goes on from there.", err=True)
        raise
    finally:
        progress.end()
