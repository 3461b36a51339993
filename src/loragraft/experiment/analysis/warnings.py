"""What a reader must know before any figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loragraft.experiment.analysis.effects import missing_effects
from loragraft.experiment.analysis.model import Control
from loragraft.experiment.measured import MeasuredSeries
from loragraft.experiment.table import Line, Table

_UNFINISHED = ("running", "interrupted", "failed", "stopped")


def warnings_of(series: MeasuredSeries, table: Table, controls: Sequence[Control]) -> Iterator[str]:
    """Yield sentences: unfinished and stale runs, missing answers, metrics that fail."""
    for line in table.lines:
        yield from _of_line(line)
    for name, error in series.unreadable.items():
        yield f"{name} is left out: {error}"
    for name, reason in table.refused.items():
        yield f"{name} is not compared with {table.baseline}: {reason}."
    if series.arms and table.baseline not in series.arms:
        yield f"The baseline {table.baseline} was not run: nothing is compared."
    yield from missing_effects(series)
    for control in controls:
        if control.passed is False:
            yield f"{control.metric} of {control.experiment} fails a control: {control.sentence}"


def _of_line(line: Line) -> Iterator[str]:
    if line.state in _UNFINISHED:
        said = f": {line.message}" if line.message else "."
        yield f"{line.name} is {line.state}{said}"
    if line.stale:
        yield f"{line.name} is stale: {', '.join(line.stale)} changed since."
    lost = {status: n for status, n in line.counts.items() if status != "ok" and n}
    if lost:
        told = ", ".join(f"{count} {status}" for status, count in lost.items())
        yield (f"{line.name} lacks {sum(lost.values())} of {line.total} answers ({told}): they are "
               "left out on both sides.")  # fmt: skip
