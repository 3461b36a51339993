"""Tables of all figures: metrics by tier, and histograms on common axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loragraft.experiment.analysis.model import Analysis, Distribution, Figure, Slice
from loragraft.experiment.page.forest import better_of, focus_of, tier_of, unit_of
from loragraft.experiment.page.marks import Axis, axis_over, bins_axis, only_axis, share_axis

TIERS = (
    ("main", "What verdicts rest on"),
    ("diagnostic", "Diagnostics: they say why"),
    ("sanity", "Sanity: for catching catastrophes only"),
)
MOST_SLICES = 100
"""Rows of one kind on the page: nobody reads more, and browsers grow slow."""
NARROWEST = 1.5
"""Percent of the width: a narrower column could not be seen."""
ALONE = 4.0
"""Percent of the width: the one bar of values that are all alike, where bins say nothing."""
SHORT = 12
"""Rows that are shown at once."""
_BY = (("task type", "Task type"), ("paper in training", "Paper in training"), ("paper", "Paper"))


@dataclass(frozen=True)
class MetricRow:
    """One metric of all experiments.

    Attributes:
        metric: Its name.
        unit: Of it.
        better: Which way is better; None for neither.
        source: Where its definition stands.
        cells: By experiment; None for one that was not run.
    """

    metric: str
    unit: str
    better: str | None
    source: str
    cells: tuple[Figure | None, ...]


@dataclass(frozen=True)
class Tier:
    """Metrics of one tier.

    Attributes:
        name: Of the tier.
        title: For people.
        rows: Its metrics.
    """

    name: str
    title: str
    rows: tuple[MetricRow, ...]


def tiers_of(analysis: Analysis) -> list[Tier]:
    """Return all figures, tier by tier; the rule's metric first."""
    first = analysis.rule.get("metric")
    by_name = {(one.metric, one.experiment): one for one in analysis.figures}
    names = sorted(dict.fromkeys(one.metric for one in analysis.figures),
                   key=lambda name: name != first)  # fmt: skip
    tiers = []
    for tier, title in TIERS:
        rows = tuple(_row(analysis, name, by_name) for name in names
                     if tier_of(analysis, name) == tier)  # fmt: skip
        tiers += [Tier(tier, title, rows)] if rows else []
    return tiers


def _row(analysis: Analysis, metric: str, figures: dict[tuple[str, str], Figure]) -> MetricRow:
    cells = tuple(figures.get((metric, name)) for name in analysis.experiments)
    source = str(analysis.metrics.get(metric, {}).get("source", ""))
    return MetricRow(metric, unit_of(analysis, metric), better_of(analysis, metric), source, cells)


@dataclass(frozen=True)
class SliceRow:
    """One slice of all experiments.

    Attributes:
        slice: What it is of.
        places: Of each experiment on the axis, in percent; None for one without values.
        gain: How far the experiment in question is better than the baseline; None without.
    """

    slice: Slice
    places: tuple[float | None, ...]
    gain: float | None


@dataclass(frozen=True)
class SliceTable:
    """All slices of one kind and one metric.

    Attributes:
        by: What they are cut by.
        title: For people.
        metric: Of what.
        unit: Of it.
        axis: Of the values.
        rows: Shown at once.
        more: Shown on demand.
        left: How many are not on the page.
    """

    by: str
    title: str
    metric: str
    unit: str
    axis: Axis
    rows: tuple[SliceRow, ...]
    more: tuple[SliceRow, ...]
    left: int


def slice_tables(analysis: Analysis) -> list[SliceTable]:
    """Return slices, the rule's metric first; of many papers those with the least gain first."""
    first = analysis.rule.get("metric")
    metrics = sorted(dict.fromkeys(one.metric for one in analysis.slices),
                     key=lambda name: name != first)  # fmt: skip
    tables = []
    for metric in metrics:
        for by, title in _BY:
            found = [one for one in analysis.slices if (one.by, one.metric) == (by, metric)]
            tables += [_slices(analysis, by, title, metric, found)] if found else []
    return tables


def _slices(
    analysis: Analysis, by: str, title: str, metric: str, found: Sequence[Slice]
) -> SliceTable:
    unit = unit_of(analysis, metric)
    values = [value for one in found for value, _ in one.values.values()]
    shares = unit == "share" and all(0 <= value <= 1 for value in values)
    axis = share_axis() if shares else axis_over(values, unit)
    sign = -1 if better_of(analysis, metric) == "lower" else 1
    rows = [_slice(analysis, axis, one, sign) for one in found]
    if by == "paper":
        rows.sort(key=lambda row: (row.gain is None, row.gain or 0.0, row.slice.name))
    kept = tuple(rows[:MOST_SLICES])
    return SliceTable(by, title, metric, unit, axis, kept[:SHORT], kept[SHORT:],
                      len(rows) - len(kept))  # fmt: skip


def _slice(analysis: Analysis, axis: Axis, one: Slice, sign: int) -> SliceRow:
    places = tuple(
        axis.at(one.values[name][0]) if name in one.values else None
        for name in analysis.experiments
    )
    theirs = one.values.get(analysis.baseline)
    mine = one.values.get(focus_of(analysis))
    gain = None if mine is None or theirs is None else sign * (mine[0] - theirs[0])
    return SliceRow(one, places, gain)


@dataclass(frozen=True)
class Column:
    """One bin of a histogram, in percent of width and height."""

    left: float
    width: float
    height: float
    count: int


@dataclass(frozen=True)
class Histogram:
    """One experiment's values.

    Attributes:
        values: What they are.
        columns: Of the plot.
        mean: Where the mean is, in percent.
        alike: Whether all values are one.
    """

    values: Distribution
    columns: tuple[Column, ...]
    mean: float
    alike: bool


@dataclass(frozen=True)
class Spread:
    """One metric's histograms on a common axis, all of one height.

    Attributes:
        metric: Its name.
        unit: Of the values.
        axis: Of them.
        top: The largest share of an experiment's values in one bin.
        plots: By experiment.
    """

    metric: str
    unit: str
    axis: Axis
    top: float
    plots: tuple[Histogram, ...]


def spreads_of(analysis: Analysis, *, seconds: bool) -> list[Spread]:
    """Return histograms of times, or of everything else."""
    shown = [one for one in analysis.distributions
             if ("second" in one.unit) == seconds and len(one.edges) > 1]  # fmt: skip
    names = dict.fromkeys(one.metric for one in shown)
    return [_spread([one for one in shown if one.metric == name]) for name in names]


def _spread(found: Sequence[Distribution]) -> Spread:
    axis = bins_axis([one.edges for one in found], found[0].unit, log=all(o.log for o in found))
    top = max((_top(one) for one in found), default=1.0) or 1.0
    value = found[0].low
    if all(one.low == one.high == value for one in found):
        axis = only_axis(axis, value, found[0].unit)
    plots = tuple(
        Histogram(one, _columns(axis, one, top), axis.at(one.mean), one.low == one.high)
        for one in found
    )
    return Spread(found[0].metric, found[0].unit, axis, top, plots)


def _top(one: Distribution) -> float:
    return max(one.counts, default=0) / (sum(one.counts) or 1)


def _sides(axis: Axis, low: float, high: float) -> tuple[float, float]:
    """Return left side and width of a bin; one that holds but one value is drawn all the same."""
    left, width = axis.at(low), axis.at(high) - axis.at(low)
    if width < NARROWEST:
        left, width = max(left - NARROWEST / 2, 0.0), NARROWEST
    return round(left, 3), round(width, 3)


def _columns(axis: Axis, one: Distribution, top: float) -> tuple[Column, ...]:
    total = sum(one.counts) or 1
    if one.low == one.high:
        left = min(max(axis.at(one.low) - ALONE / 2, 0.0), 100 - ALONE)
        return (Column(round(left, 3), ALONE, round(100 / top, 3), sum(one.counts)),)
    return tuple(
        Column(*_sides(axis, low, high), round(count / total / top * 100, 3), count)
        for low, high, count in zip(one.edges, one.edges[1:], one.counts, strict=False)
    )  # fmt: skip
