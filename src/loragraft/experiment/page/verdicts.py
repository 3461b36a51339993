"""What stands on top of the page: decisions, what they rest on, and where it fails."""

from __future__ import annotations

from dataclasses import dataclass

from loragraft.experiment.analysis.model import Analysis, Comparison, Figure, Slice, Verdict
from loragraft.experiment.page.forest import Bar, bar_on, better_of, unit_of, wanted_gain
from loragraft.experiment.page.marks import Axis, axis_over, share_axis

GROUNDING = "grounding_coverage"
MOST_WEAK = 3
_ORDER = ("promote", "undecided", "blocked", "reject", "not a candidate")
_TASK_TYPE = "task type"


@dataclass(frozen=True)
class Gauge:
    """A value with its interval beside what was asked for.

    Attributes:
        axis: Of the values.
        bar: Value and interval.
        wanted: Where the threshold is, in percent; None without.
        zero: Where nothing is, in percent; None where that says nothing.
    """

    axis: Axis
    bar: Bar
    wanted: float | None
    zero: float | None


@dataclass(frozen=True)
class Weak:
    """Questions of one task type, where it does worst.

    Attributes:
        slice: Of the rule's metric.
        value: The experiment's mean.
        count: Questions behind it.
        gain: By how much it is above the baseline; None without the baseline's.
    """

    slice: Slice
    value: float
    count: int
    gain: float | None


@dataclass(frozen=True)
class Card:
    """An experiment's verdict with all that is shown beside it.

    Attributes:
        verdict: The decision.
        gain: The comparison that it rests on; None without.
        gain_gauge: Of it.
        grounding: The experiment's grounding; None without.
        grounding_gauge: Of it.
        weak: Task types, the worst first.
    """

    verdict: Verdict
    gain: Comparison | None
    gain_gauge: Gauge | None
    grounding: Figure | None
    grounding_gauge: Gauge | None
    weak: tuple[Weak, ...]


def cards_of(analysis: Analysis) -> list[Card]:
    """Return candidates' verdicts, the best first."""
    chosen = [one for one in analysis.verdicts if one.decision != "not a candidate"]
    chosen.sort(key=lambda one: (_ORDER.index(one.decision), -(one.shown or -1)))
    return [_card(analysis, one) for one in chosen]


def others_of(analysis: Analysis) -> list[Verdict]:
    """Return the verdicts on experiments that nobody asked to promote."""
    return [one for one in analysis.verdicts if one.decision == "not a candidate"]


def _card(analysis: Analysis, verdict: Verdict) -> Card:
    metric = analysis.rule.get("metric")
    here = (verdict.experiment, metric)
    gain = next((o for o in analysis.comparisons if (o.experiment, o.metric) == here), None)
    grounding = next((one for one in analysis.figures if one.value is not None
                      and (one.experiment, one.metric) == (verdict.experiment, GROUNDING)),
                     None)  # fmt: skip
    weak = _weak(analysis, verdict.experiment)
    return Card(verdict, gain, None if gain is None else _gain(analysis, gain), grounding,
                None if grounding is None else _grounding(analysis, grounding), weak)  # fmt: skip


def _gain(analysis: Analysis, gain: Comparison) -> Gauge:
    wanted = wanted_gain(analysis, gain.metric)
    ends = (gain.interval.low, gain.difference, gain.interval.high, 0.0)
    places = ends if wanted is None else (*ends, wanted)
    axis = axis_over(places, unit_of(analysis, gain.metric), gaps=True)
    bar = bar_on(axis, gain.difference, gain.interval.low, gain.interval.high)
    return Gauge(axis, bar, None if wanted is None else axis.at(wanted), axis.at(0))


def _grounding(analysis: Analysis, figure: Figure) -> Gauge | None:
    if figure.value is None:
        return None
    axis, wanted = share_axis(), analysis.rule.get("grounding")
    low = figure.value if figure.lower is None else figure.lower
    high = figure.value if figure.upper is None else figure.upper
    place = axis.at(float(wanted)) if isinstance(wanted, int | float) else None
    return Gauge(axis, bar_on(axis, figure.value, low, high), place, None)


def _weak(analysis: Analysis, experiment: str) -> tuple[Weak, ...]:
    """Return the task types of the lowest gain, or of the lowest value where none is compared."""
    metric = analysis.rule.get("metric")
    sign = -1 if better_of(analysis, str(metric)) == "lower" else 1
    found = []
    for one in analysis.slices:
        if (one.by, one.metric) == (_TASK_TYPE, metric) and experiment in one.values:
            value, count = one.values[experiment]
            theirs = one.values.get(analysis.baseline)
            found.append(Weak(one, value, count, None if theirs is None else value - theirs[0]))
    found.sort(key=lambda one: sign * (one.value if one.gain is None else one.gain))
    return tuple(found[:MOST_WEAK]) if len(found) > 1 else ()
