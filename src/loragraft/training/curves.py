"""The curves of a run as a picture: losses, their gap, the learning rate, other metrics."""

from __future__ import annotations

import importlib.util
import io
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft.artifact.files import write_atomically
from loragraft.errors import MissingExtraError
from loragraft.training.config import GAP_ALARM
from loragraft.training.log import TrainingLog

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES_NAME = "curves.png"
WIDTH, DPI = 8.0, 120
"""Inches and dots an inch: 960 pixels, what a page of Markdown shows."""
TRAINING, VALIDATION, BEST, WRONG, FAINT = "#3366aa", "#dd7722", "#228833", "#bb2233", "#888888"
"""Told apart by the colour-blind too, and by their form: a line, a line with dots, a ring."""
DECADE = 10
"""Times that gradients must differ for a logarithmic axis."""
MOST_EPOCHS = 20
"""Whose ends are marked; more would be a grid."""

Panel = Callable[["Axes", TrainingLog], None]


def draw_curves(log: TrainingLog, path: Path, *, gap_limit: float = GAP_ALARM) -> Path:
    """Draw a run's curves as PNG.

    Args:
        log: The run's; without a single step, empty axes are drawn.
        path: Of the picture.
        gap_limit: Nats that the gap may have.

    Returns:
        The path.

    Raises:
        MissingExtraError: If matplotlib is not installed.
        OutOfSpaceError: If the disk is full.
    """
    require_matplotlib()
    panels: list[tuple[Panel, float]] = [(_losses, 3.2)]
    if any(e.gap is not None for e in log.evaluations):
        panels.append((lambda axes, found: _gap(axes, found, gap_limit), 1.4))
    if any(e.metrics for e in log.evaluations):
        panels.append((_metrics, 1.4))
    panels += [(_rate, 1.2), (_gradients, 1.2)]
    figure = make_figure(WIDTH, 0.9 + sum(height for _, height in panels))
    ratios = [height for _, height in panels]
    rows = figure.subplots(len(panels), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    for axes, (panel, _) in zip(rows, panels, strict=True):
        panel(axes, log)
        _epochs(axes, log)
    rows[-1].set_xlabel("step; dotted: an epoch ends")
    figure.align_ylabels(list(rows))
    title(figure, f"{log.experiment_id}: {log.status}")
    return save_figure(figure, path)


def require_matplotlib() -> None:
    """Raise unless matplotlib is installed.

    Raises:
        MissingExtraError: Saying how to install it.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "train", "Drawing curves")


def make_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that no window belongs to."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def title(figure: Figure, text: str) -> None:
    """Write a figure's title; a dollar in a name begins no formula."""
    figure.suptitle(text, fontsize=11, parse_math=False)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name may hold characters that the font lacks: they are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
    return path


def _losses(axes: Axes, log: TrainingLog) -> None:
    steps = log.steps
    axes.plot([s.step for s in steps], [s.loss for s in steps], color=TRAINING, lw=1.4,
              marker="." if len(steps) == 1 else "", label="training")  # fmt: skip
    _points(axes, log, [e.loss for e in log.evaluations], "validation")
    if log.best is not None:
        text = f"best {log.best.loss:.3f} at step {log.best.step}"
        axes.plot([log.best.step], [log.best.loss], "o", ms=12, mfc="none", mec=BEST, mew=2,
                  label=text)  # fmt: skip
    broken = [a.step for a in log.alarms if a.kind == "not-finite"]
    for step in broken:
        axes.axvline(step, color=WRONG, lw=1.2, label=f"no number at step {step}")
    axes.set_ylabel("loss (nats)")
    axes.legend(loc="upper right", fontsize=9, framealpha=0.9)


def _points(axes: Axes, log: TrainingLog, values: Sequence[float], label: str) -> None:
    if log.evaluations:
        axes.plot([e.step for e in log.evaluations], values, color=VALIDATION, lw=1.4, marker="o",
                  ms=4, label=label)  # fmt: skip


def _gap(axes: Axes, log: TrainingLog, limit: float) -> None:
    known = [(e.step, e.gap) for e in log.evaluations if e.gap is not None]
    _, gaps = [step for step, _ in known], [gap for _, gap in known]
    axes.plot([step for step, _ in known], gaps, color=VALIDATION, lw=1.4, marker="o", ms=4)
    axes.axhline(0, color=FAINT, lw=0.8)
    axes.axhline(limit, color=WRONG, lw=1, ls="--", label=f"alarm above {limit:g}")
    over = [(step, gap) for step, gap in known if gap > limit]
    axes.plot([step for step, _ in over], [gap for _, gap in over], "o", color=WRONG, ms=6)
    axes.set_ylabel("gap")
    axes.legend(loc="best", fontsize=8, framealpha=0.9)


def _metrics(axes: Axes, log: TrainingLog) -> None:
    names = sorted({name for e in log.evaluations for name in e.metrics})
    for name, color in zip(names, (VALIDATION, TRAINING, BEST, WRONG, FAINT), strict=False):
        known = [(e.step, e.metrics[name]) for e in log.evaluations if name in e.metrics]
        axes.plot([step for step, _ in known], [value for _, value in known], color=color,
                  marker="o", ms=4, lw=1.4, label=name)  # fmt: skip
    axes.set_ylabel("metrics")
    axes.legend(loc="best", fontsize=8, framealpha=0.9)


def _rate(axes: Axes, log: TrainingLog) -> None:
    axes.plot([s.step for s in log.steps], [s.learning_rate for s in log.steps], color=TRAINING,
              lw=1.4)  # fmt: skip
    axes.set_ylabel("learning\nrate")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.set_ylim(bottom=0)


def _gradients(axes: Axes, log: TrainingLog) -> None:
    known: list[tuple[int, Any]] = [
        (s.step, s.gradient_norm) for s in log.steps if s.gradient_norm is not None
    ]
    axes.plot([step for step, _ in known], [norm for _, norm in known], color=TRAINING, lw=1.2)
    usual = [norm for _, norm in known if norm > 0 and math.isfinite(norm)]
    if usual and max(usual) > DECADE * min(usual):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter("")  # or they would stand on one another
    for alarm in log.alarms:
        if alarm.kind == "gradient":
            axes.plot([alarm.step], [alarm.value], "o", color=WRONG, ms=6)
    axes.set_ylabel("largest\ngradient")


def _epochs(axes: Axes, log: TrainingLog) -> None:
    """Mark the ends of epochs."""
    axes.grid(alpha=0.25, lw=0.6)
    last = log.steps[-1] if log.steps else None
    if last is None or not 0 < last.epoch <= MOST_EPOCHS:
        return
    for epoch in range(1, math.floor(last.epoch + 1e-6) + 1):
        axes.axvline(epoch * last.step / last.epoch, color=FAINT, lw=0.8, ls=":")
