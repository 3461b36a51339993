"""The verdicts of a series, from its figures and from all else that was looked at."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from loragraft.experiment.analysis.compared import Gating
from loragraft.experiment.analysis.model import Comparison, Control, Figure, Verdict
from loragraft.experiment.measured import MeasuredSeries
from loragraft.experiment.table import Table
from loragraft.experiment.verdict.candidates import (
    Context,
    LeakCheck,
    broken,
    candidates,
    standings,
)
from loragraft.experiment.verdict.decide import decide


def gating_of(series: MeasuredSeries) -> Gating:
    """Return which comparisons the series' promotion rests on."""
    rule = series.config.promotion
    if rule is None:
        return Gating()
    return Gating(rule.metric, frozenset(candidates(series.config)))


def verdicts_of(
    series: MeasuredSeries,
    table: Table,
    *,
    figures: Sequence[Figure],
    comparisons: Sequence[Comparison],
    controls: Iterable[Control] = (),
    leaks: LeakCheck,
    file: Path | None = None,
) -> tuple[Verdict, ...]:
    """Decide on every experiment; nothing where the series promotes nothing.

    Args:
        series: The records.
        table: What it tells of the experiments' runs.
        figures: Of all experiments.
        comparisons: With the baseline.
        controls: Of the metrics: one that failed is not to be trusted.
        leaks: What the search for leaked test questions says.
        file: Where the series' configuration stands, for next steps.
    """
    rule = series.config.promotion
    if rule is None:
        return ()
    info = series.infos.get(rule.metric)
    context = Context(
        series.baseline,
        standings(series.config, table.lines, table.refused),
        "lower" if info is not None and info.better == "lower" else "higher",
        "share" if info is None else info.unit,
        leaks,
        broken(controls),
        f"loragraft experiment run {'CONFIG' if file is None else shlex.quote(str(file))}",
    )
    return decide(rule, comparisons, figures, context)
