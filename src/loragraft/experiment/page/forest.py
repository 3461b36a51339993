"""Rows of a forest plot: differences and effects with their intervals on common axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loragraft.experiment.analysis.model import Analysis, Comparison, Effect
from loragraft.experiment.page.marks import Axis, axis_over


@dataclass(frozen=True)
class Bar:
    """A value with its interval on an axis; all in percent of the width.

    Attributes:
        at: The value.
        low: The interval's lower end.
        high: Its upper end.
    """

    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """Comparisons that share an axis: one metric.

    Attributes:
        metric: Its name.
        unit: Of it.
        better: Which way is better; None for neither.
        axis: Of the differences.
        zero: Where no difference is, in percent.
        wanted: Where the wanted gain is, in percent; None where nothing is wanted of the metric.
        rows: Comparisons with their bars.
    """

    metric: str
    unit: str
    better: str | None
    axis: Axis
    zero: float
    wanted: float | None
    rows: tuple[tuple[Comparison, Bar], ...]


@dataclass(frozen=True)
class EffectPanel:
    """Effects that share an axis.

    Attributes:
        metric: Of what.
        unit: Of it.
        axis: Of the effects.
        zero: Where none is, in percent.
        bounds: Of equivalence, in percent; None without.
        rows: Effects with their bars.
    """

    metric: str
    unit: str
    axis: Axis
    zero: float
    bounds: tuple[float, float] | None
    rows: tuple[tuple[Effect, Bar], ...]


def bar_on(axis: Axis, value: float, low: float, high: float) -> Bar:
    """Place a value with its interval."""
    return Bar(axis.at(value), axis.at(low), axis.at(high))


def unit_of(analysis: Analysis, metric: str) -> str:
    """Return a metric's unit; nothing for one that nobody described."""
    return str(analysis.metrics.get(metric, {}).get("unit", ""))


def tier_of(analysis: Analysis, metric: str) -> str:
    """Return a metric's tier: diagnostic for one that nobody described."""
    return str(analysis.metrics.get(metric, {}).get("tier", "diagnostic"))


def better_of(analysis: Analysis, metric: str) -> str | None:
    """Return which way is better."""
    value = analysis.metrics.get(metric, {}).get("better")
    return str(value) if value in ("higher", "lower") else None


def wanted_gain(analysis: Analysis, metric: str) -> float | None:
    """Return the difference that the rule asks for, with its sign; None where it asks for none."""
    gain = analysis.rule.get("gain")
    if metric != analysis.rule.get("metric") or not isinstance(gain, int | float):
        return None
    return -float(gain) if better_of(analysis, metric) == "lower" else float(gain)


def focus_of(analysis: Analysis) -> str:
    """Return the experiment that a reader asks about: a candidate, else not the baseline."""
    candidates = [o.experiment for o in analysis.verdicts if o.decision != "not a candidate"]
    others = [name for name in analysis.experiments if name != analysis.baseline]
    best = max((o for o in analysis.verdicts if o.experiment in candidates),
               key=lambda o: (o.decision == "promote", o.shown or -1), default=None)  # fmt: skip
    return best.experiment if best else (others or list(analysis.experiments) or [""])[0]


def panels_of(analysis: Analysis, tiers: Sequence[str]) -> list[Panel]:
    """Return the comparisons of metrics of some tiers, the rule's metric first."""
    names = dict.fromkeys(one.metric for one in analysis.comparisons)
    chosen = [name for name in names if tier_of(analysis, name) in tiers]
    first = analysis.rule.get("metric")
    return [_panel(analysis, name) for name in sorted(chosen, key=lambda name: name != first)]


def _panel(analysis: Analysis, metric: str) -> Panel:
    unit, wanted = unit_of(analysis, metric), wanted_gain(analysis, metric)
    found = [one for one in analysis.comparisons if one.metric == metric]
    axis = _axis_of([(one.interval.low, one.difference, one.interval.high) for one in found],
                    unit, () if wanted is None else (wanted,))  # fmt: skip
    rows = tuple((one, bar_on(axis, one.difference, one.interval.low, one.interval.high))
                 for one in found)  # fmt: skip
    place = None if wanted is None else axis.at(wanted)
    return Panel(metric, unit, better_of(analysis, metric), axis, axis.at(0), place, rows)


def effects_of(analysis: Analysis, effects: Sequence[Effect]) -> list[EffectPanel]:
    """Return effects by metric."""
    return [
        _effects(unit_of(analysis, name), [one for one in effects if one.metric == name])
        for name in dict.fromkeys(one.metric for one in effects)
    ]


def _effects(unit: str, effects: Sequence[Effect]) -> EffectPanel:
    bound = next((one.bound for one in effects if one.bound is not None), None)
    ends = () if bound is None else (-bound, bound)
    axis = _axis_of([(one.interval.low, one.value, one.interval.high) for one in effects], unit,
                    ends)  # fmt: skip
    rows = tuple((one, bar_on(axis, one.value, one.interval.low, one.interval.high))
                 for one in effects)  # fmt: skip
    bounds = None if bound is None else (axis.at(-bound), axis.at(bound))
    return EffectPanel(effects[0].metric, unit, axis, axis.at(0), bounds, rows)


def _axis_of(
    bars: Iterable[tuple[float, float, float]], unit: str, places: Sequence[float]
) -> Axis:
    values = [value for bar in bars for value in bar]
    return axis_over([*values, *places, 0.0], unit, gaps=True)
