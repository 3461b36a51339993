"""Every metric of every experiment, with its interval and what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from loragraft.experiment.analysis.model import Figure
from loragraft.experiment.analysis.together import Bounds, together_intervals
from loragraft.experiment.analysis.values import (
    Given,
    Points,
    asked_of,
    papers_of,
    range_of,
    values_by_question,
)
from loragraft.experiment.measured import Measured
from loragraft.experiment.records import NOT_APPLICABLE, Score
from loragraft.experiment.statistics.interval import mean_interval, one_sided
from loragraft.experiment.statistics.sample import values_of
from loragraft.experiment.table import NO_ANSWERS

if TYPE_CHECKING:
    from loragraft.experiment.metrics.protocol import MetricInfo

NOT_ANSWERED = "not answered"
"""Of a question that has no sample yet."""
_FROM_SPREAD = ("t over papers", "bootstrap over papers")
"""The other methods reach as far as values can lie, which nobody knows of seconds."""
NO_VALUE = "no answer has it"


def figures_of(
    arms: Mapping[str, Measured],
    infos: Mapping[str, MetricInfo],
    given: Given = MappingProxyType({}),
) -> Iterator[Figure]:
    """Yield every metric of every experiment.

    Args:
        arms: The experiments' records.
        infos: The metrics, in the order of tables.
        given: Values that pairs have.
    """
    together = {name: together_intervals(measured) for name, measured in arms.items()}
    for info in infos.values():
        for name, measured in arms.items():
            if (info.name, name) in given:
                yield _mean(name, measured, info, given[info.name, name].mine, {})
            else:
                yield _figure(name, measured, info, together[name])


def _figure(
    name: str, measured: Measured, info: MetricInfo, together: Mapping[str, Bounds]
) -> Figure:
    asked = asked_of(measured)
    if info.name in measured.aggregates and info.name not in measured.barred:
        return _together(name, measured, info.name, together.get(info.name))
    if info.name in measured.barred or info.name not in measured.scores:
        silent = not measured.samples and info.name not in measured.barred
        return _none(name, info, asked, NO_ANSWERS if silent else NOT_APPLICABLE)
    missing = missing_of(measured, measured.scores[info.name])
    return _mean(name, measured, info, values_by_question(measured, info.name), missing)


def _mean(
    name: str, measured: Measured, info: MetricInfo, found: Points, missing: Mapping[str, int]
) -> Figure:
    asked = asked_of(measured)
    if not found:
        return _none(name, info, asked, NO_VALUE, missing)
    values = values_of(found, papers_of(measured))
    low, high = range_of(info)
    interval = mean_interval(values, low=low, high=high)
    lower, upper = one_sided(values, low=low, high=high)
    known = None not in (low, high) or interval.method in _FROM_SPREAD
    return Figure(
        name,
        info.name,
        values.mean,
        interval if known else None,
        lower if known else None,
        upper if known else None,
        values.count,
        asked,
        values.paper_count,
        missing,
    )


def _none(
    name: str, info: MetricInfo, asked: int, reason: str, missing: Mapping[str, int] | None = None
) -> Figure:
    return Figure(name, info.name, None, None, None, None, 0, asked, 0, missing or {}, reason)


def _together(name: str, measured: Measured, metric: str, bounds: Bounds | None) -> Figure:
    """Return what is measured of all samples together, and is no mean."""
    one = measured.aggregates[metric]
    interval, lower, upper = bounds or (None, None, None)
    return Figure(name, metric, one.value, interval, lower, upper, one.count, one.of, 0,
                  reason=one.reason)  # fmt: skip


def missing_of(measured: Measured, scores: Iterable[Score]) -> dict[str, int]:
    """Count the samples without a value, by status; questions not answered yet are among them."""
    found = Counter(str(score.status) for score in scores if score.value is None)
    absent = asked_of(measured) * measured.info.repeats - len(measured.samples)
    if absent > 0:
        found[NOT_ANSWERED] = absent
    return dict(sorted(found.items()))
