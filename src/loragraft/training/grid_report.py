"""What a grid found: a line a run, as a table, as Markdown and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.metadata import plain
from loragraft.training.card import table
from loragraft.training.config import GAP_ALARM
from loragraft.training.grid_cells import Cell, Standing, State, short_rate
from loragraft.training.log import TrainingLog

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA_VERSION = 1
CHOSEN_BY = "validation loss"
COLUMNS = ("run", "r", "alpha", "rate", "epochs", "validation", "training", "gap", "step",
           "alarms", "time", "state")  # fmt: skip
LEGIBLE = 16
"""Runs whose curves are told apart by colour; of more only the best is."""


@dataclass(frozen=True)
class Line:
    """One run of a grid.

    Attributes:
        id: Its name.
        r: Rank.
        alpha: As the rank has it.
        learning_rate: The highest.
        epochs: That it was to have.
        state: ``finished``, ``failed``, ``waiting``, ``begun`` or ``other``.
        validation_loss: Of the weights that were kept; None where it is not finished.
        train_loss: In the steps before that evaluation.
        gap: Between the two.
        best_step: Whose weights were kept.
        alarms: How many rang.
        seconds: Of training.
        error: Why it failed, or why what is there is not this run's.
        curve: Epoch and validation loss of every evaluation.
    """

    id: str
    r: int
    alpha: float
    learning_rate: float
    epochs: float
    state: str
    validation_loss: float | None = None
    train_loss: float | None = None
    gap: float | None = None
    best_step: int | None = None
    alarms: int = 0
    seconds: float = 0.0
    error: str = ""
    curve: tuple[tuple[float, float], ...] = ()

    def waiting(self, state: State) -> Line:
        """Return the line of a run that nobody has tried to finish yet."""
        return replace(self, state=state)

    @property
    def loss(self) -> float:
        """Return the validation loss; infinite where it is not known."""
        return math.inf if self.validation_loss is None else self.validation_loss

    def cells(self) -> tuple[str, ...]:
        """Return the line's texts, one for each of ``COLUMNS``."""
        return (
            self.id, str(self.r), f"{self.alpha:g}", short_rate(self.learning_rate),
            f"{self.epochs:g}", _number(self.validation_loss), _number(self.train_loss),
            _number(self.gap, "+.3f"), "" if self.best_step is None else str(self.best_step),
            str(self.alarms) if self.alarms else "", _time(self.seconds), self.state,
        )  # fmt: skip


@dataclass(frozen=True)
class GridReport:
    """A grid's runs.

    Attributes:
        experiment_id: The grid's name.
        lines: In the grid's order.
    """

    experiment_id: str
    lines: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        best = best_line(self)
        body = {
            "schema_version": SCHEMA_VERSION,
            "experiment_id": self.experiment_id,
            "chosen_by": CHOSEN_BY,
            "best": None if best is None else best.id,
            "runs": [asdict(line) for line in self.lines],
        }
        return dict(plain(body))


def make_line(cell: Cell, standing: Standing | None, error: str = "") -> Line:
    """Describe a run: what it found if it is finished, else why not."""
    config = cell.config
    line = Line(
        cell.id, config.lora.r, config.lora.alpha, config.optimiser.learning_rate,
        config.optimiser.epochs, "failed", error=error,
    )  # fmt: skip
    if standing is None or standing.metadata is None or standing.log is None:
        return line
    return _finished(line, standing.metadata, standing.log)


def _finished(line: Line, metadata: Mapping[str, Any], log: TrainingLog) -> Line:
    summary = metadata.get("evaluation_summary", {})
    step = summary.get("chosen_step")
    chosen = next((e for e in log.evaluations if e.step == step), None)
    runtime = metadata.get("training_runtime", {})
    return replace(
        line, state="finished", error="", best_step=step, alarms=len(log.alarms),
        validation_loss=None if chosen is None else chosen.loss,
        train_loss=None if chosen is None else chosen.train_loss,
        gap=None if chosen is None else chosen.gap,
        seconds=float(runtime.get("seconds") or log.seconds),
        curve=tuple((e.epoch, e.loss) for e in log.evaluations),
    )  # fmt: skip


def best_line(report: GridReport) -> Line | None:
    """Return the finished run of the lowest validation loss; of equal ones the smaller."""
    known = [line for line in report.lines if math.isfinite(line.loss)]
    return min(known, key=lambda line: (line.loss, line.r, line.epochs), default=None)


def best_sentence(report: GridReport) -> str:
    """Say which run is the best, and by how much."""
    best = best_line(report)
    if best is None:
        return "No run is finished."
    words = f"Best by {CHOSEN_BY}: {best.id}, {best.loss:.4f}"
    others = [line.loss - best.loss for line in report.lines
              if math.isfinite(line.loss) and line is not best]  # fmt: skip
    if not others:
        return f"{words}."
    return f"{words}, {min(others):.4f} below the next and {max(others):.4f} below the last."


def grid_markdown(report: GridReport, picture: str) -> str:
    """Return the report as Markdown."""
    lines = ["## Grid", "", best_sentence(report), "",
             *table(COLUMNS, [line.cells() for line in report.lines]), "",
             f"![Grid]({picture})", ""]  # fmt: skip
    failed = [line for line in report.lines if line.error]
    if failed:
        lines += ["Not finished:", "", *table(("run", "why"), [(f.id, f.error) for f in failed])]
    return "\n".join(lines).rstrip() + "\n"


def draw_grid(report: GridReport, path: Path) -> Path:
    """Draw the runs' validation losses, sorted, and their curves, as PNG.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        OutOfSpaceError: If the disk is full.
    """
    from loragraft.training.curves import (
        WIDTH,
        make_figure,
        require_matplotlib,
        save_figure,
        title,
    )

    require_matplotlib()
    known = [line for line in report.lines if math.isfinite(line.loss)]
    shown = sorted(known, key=lambda line: (-line.loss, -line.r, -line.epochs))
    figure = make_figure(WIDTH, 4.6 + 0.28 * len(shown))
    heights = [0.8 + 0.28 * len(shown), 3.0]
    dots, curves = figure.subplots(2, 1, height_ratios=heights)
    colors = _colors(shown)
    _dots(dots, shown, colors)
    _curves(curves, shown, colors)
    title(figure, f"{report.experiment_id}: {len(shown)} of {len(report.lines)} runs")
    return save_figure(figure, path)


def _colors(shown: Sequence[Line]) -> dict[str, Any]:
    """Give each run a colour, from the worst to the best; of many only the best is told apart."""
    from matplotlib import colormaps

    from loragraft.training.curves import BEST, FAINT

    if len(shown) > LEGIBLE:
        return {line.id: BEST if line is shown[-1] else FAINT for line in shown}
    scale = colormaps["viridis"]
    count = max(len(shown) - 1, 1)
    return {line.id: scale(0.85 - 0.75 * n / count) for n, line in enumerate(shown)}


def _dots(axes: Axes, shown: Sequence[Line], colors: Mapping[str, Any]) -> None:
    from loragraft.training.curves import BEST, WRONG

    for row, line in enumerate(shown):
        loss = [line.loss]
        axes.plot(loss, [row], "o", ms=7, color=colors[line.id])
        if line.gap is not None and line.gap > GAP_ALARM:
            axes.plot(loss, [row], "x", ms=11, mew=1.5, color=WRONG)
        if line is shown[-1]:
            axes.plot(loss, [row], "o", ms=13, mfc="none", mec=BEST, mew=2)
    names = [f"r {s.r}, rate {short_rate(s.learning_rate)}, epochs {s.epochs:g}" for s in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(-0.6, max(len(shown), 1) - 0.4)
    axes.set_xlabel("validation loss (nats); ring: the best, cross: gap alarm")
    axes.grid(alpha=0.25, lw=0.6)


def _curves(axes: Axes, shown: Sequence[Line], colors: Mapping[str, Any]) -> None:
    for line in shown:
        last = line is shown[-1]
        axes.plot([epoch for epoch, _ in line.curve], [loss for _, loss in line.curve],
                  color=colors[line.id], lw=2.4 if last else 1.2, marker="o", ms=3,
                  zorder=3 if last else 2)  # fmt: skip
    axes.set_xlabel("epoch; thick: the best")
    axes.set_ylabel("validation loss (nats)")
    axes.grid(alpha=0.25, lw=0.6)


def _number(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else format(value, form)


def _time(seconds: float) -> str:
    if not seconds:
        return ""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
