"""Intervals of what is measured of all samples together: rank correlation, ROC-AUC, accuracy.

They are no means, so papers are left out a few at a time, and what that changes tells how sure the
figure is: the jackknife (Tukey 1958; with groups of papers: Shao and Tu, The Jackknife and
Bootstrap, 1995, section 5.1), with Student's t on its error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from loragraft.experiment.analysis.values import papers_of
from loragraft.experiment.measured import Measured, threshold_of
from loragraft.experiment.metrics.aggregate import ACCURACY, ROC_AUC, SPEARMAN, aggregates
from loragraft.experiment.records import Sample
from loragraft.experiment.statistics.interval import LEVEL
from loragraft.experiment.statistics.results import Interval

Bounds: TypeAlias = tuple[Interval, float, float]
"""A two-sided interval, the one-sided lower and the upper bound."""
NUMERIC = frozenset(info.name for info in (ROC_AUC, SPEARMAN, ACCURACY))
GROUPS = 40
"""Papers are dealt into at most so many: each is left out once, and all else is measured again."""
FEWEST = 5
"""With fewer groups the error of the error is as large as itself."""


def together_intervals(measured: Measured) -> dict[str, Bounds]:
    """Return the intervals of an experiment's figures over all numbers, and one-sided bounds.

    Returns:
        By metric: the two-sided interval, the lower and the upper 95 % bound. What has none is left
        out: without spread, with few papers, or where a part has no such figure.
    """
    wanted = [name for name in NUMERIC if name in measured.aggregates
              and measured.aggregates[name].value is not None]  # fmt: skip
    if not wanted:
        return {}
    groups = _groups(measured)
    if len(groups) < FEWEST:
        return {}
    left = [_values(measured, rest) for rest in _without_each(groups)]
    found = {}
    for name in wanted:
        values = [one.get(name) for one in left]
        there = [value for value in values if value is not None]
        full = measured.aggregates[name].value
        if full is not None and len(there) == len(values) and max(there) > min(there):
            found[name] = _interval(full, there, -1.0 if name == SPEARMAN.name else 0.0)
    return found


def _groups(measured: Measured) -> list[list[Sample]]:
    """Return samples by paper, the papers dealt into groups in the order of their names."""
    papers = papers_of(measured)
    by_paper: dict[tuple[str, str], list[Sample]] = {}
    for sample in measured.samples:
        paper = papers.get(sample.question_id)
        key = ("own", sample.question_id) if paper is None else ("paper", paper)
        by_paper.setdefault(key, []).append(sample)
    groups: list[list[Sample]] = [[] for _ in range(min(GROUPS, len(by_paper)))]
    for number, key in enumerate(sorted(by_paper)):
        groups[number % len(groups)] += by_paper[key]
    return groups


def _without_each(groups: Sequence[Sequence[Sample]]) -> Iterator[list[Sample]]:
    for left_out in range(len(groups)):
        yield [sample for number, some in enumerate(groups) if number != left_out
               for sample in some]  # fmt: skip


def _values(measured: Measured, samples: Sequence[Sample]) -> Mapping[str, float | None]:
    found = aggregates(
        measured.info.task,  # type: ignore[arg-type]
        samples,
        measured.records,
        threshold=threshold_of(measured.samples),
        sanity=False,
    )
    return {one.info.name: one.value for one in found}


def _interval(value: float, left: Sequence[float], least: float) -> Bounds:
    from scipy import stats

    count, mean = len(left), math.fsum(left) / len(left)
    error = math.sqrt(math.fsum((one - mean) ** 2 for one in left) * (count - 1) / count)
    two = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    one = float(stats.t.ppf(LEVEL, count - 1)) * error
    both = Interval(max(value - two, least), min(value + two, 1.0), LEVEL, "t over papers")
    return both, max(value - one, least), min(value + one, 1.0)
