"""From records to the values that statistics are made of: one for each question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from loragraft.experiment.measured import Measured
from loragraft.experiment.table import by_question
from loragraft.experiment.verdict.judge_points import PairPoints

if TYPE_CHECKING:
    from loragraft.experiment.metrics.protocol import MetricInfo

_RANGES: Mapping[str, tuple[float, float]] = {
    "share": (0.0, 1.0),
    "points of 100": (0.0, 100.0),
    "correlation": (-1.0, 1.0),
    "cosine": (-1.0, 1.0),
}
_NEVER_NEGATIVE = frozenset(
    ("bytes", "count", "nats", "points squared", "seconds", "seconds per token", "times", "tokens",
     "tokens per second")
)  # fmt: skip
Points: TypeAlias = Mapping[str, float]
"""Values by question."""
Given: TypeAlias = Mapping[tuple[str, str], PairPoints]
"""Values of a pair that no experiment has alone, a judge's points, by metric and experiment."""

LARGEST = 1e100
"""Beyond it sums and squares leave what a number can hold; no metric of ours comes near."""


def range_of(info: MetricInfo) -> tuple[float | None, float | None]:
    """Return the least and the greatest value that a metric can have; None for no bound."""
    if info.unit in _RANGES:
        return _RANGES[info.unit]
    return (0.0 if info.unit in _NEVER_NEGATIVE else None), None


def values_by_question(measured: Measured, metric: str) -> dict[str, float]:
    """Return an experiment's value for each question: the mean of its answers that have one.

    A value that is beyond all reason, of a file that somebody has edited, is left out.
    """
    found = by_question(measured.scores.get(metric, ()))
    return {name: value for name, value in found.items() if abs(value) <= LARGEST}


def pair_values(
    arms: Mapping[str, Measured], names: tuple[str, str], metric: str, given: Given
) -> tuple[Points, Points]:
    """Return an experiment's and the baseline's values, by question.

    Args:
        arms: The experiments' records.
        names: The experiment and the baseline.
        metric: Its name.
        given: Values that pairs have.
    """
    if (metric, names[0]) in given:
        points = given[metric, names[0]]
        return points.mine, points.theirs
    if names[1] not in arms:
        return {}, {}
    return values_by_question(arms[names[0]], metric), values_by_question(arms[names[1]], metric)


def papers_of(measured: Measured) -> dict[str, str | None]:
    """Return the paper of each question that was asked; None for none."""
    if measured.records:
        return {name: record.paper_id for name, record in measured.records.items()}
    return {sample.question_id: sample.paper_id for sample in measured.samples}


def types_of(measured: Measured) -> dict[str, str]:
    """Return the task type of each question that was asked."""
    if measured.records:
        return {name: record.task_type for name, record in measured.records.items()}
    return {sample.question_id: sample.task_type for sample in measured.samples}


def asked_of(measured: Measured) -> int:
    """Return how many questions an experiment is asked, answered or not."""
    told = measured.info.total // max(measured.info.repeats, 1)
    return len(measured.records) or max(told, len(types_of(measured)))
