"""Metrics that look at one sample at a time: the frame that all of them share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from loragraft.dataset.records import TaskRecord
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.records import Sample, Score, Status


@dataclass(frozen=True)
class Value:
    """A measured value.

    Attributes:
        value: Finite.
        detail: What it rests on, for people.
    """

    value: float
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """Why there is no value.

    Attributes:
        reason: For people.
        status: As :data:`~loragraft.experiment.records.Status` says.
    """

    reason: str
    status: Status = "unscorable"


Measured: TypeAlias = Value | Missing
Measure: TypeAlias = Callable[[Sample, TaskRecord], Mapping[str, Measured]]
"""Measures one sample that has an answer: one entry for each of the metric's names."""


@dataclass(frozen=True)
class EachSample:
    """A metric that needs nothing but a sample and its record.

    Attributes:
        infos: What it scores.
        measure: How.
        decides: Returns what decides its values beside versions: settings, as JSON values.
    """

    infos: tuple[MetricInfo, ...]
    measure: Measure
    decides: Callable[[], Mapping[str, Any]] = dict

    def identity(self) -> dict[str, Any]:
        """Return versions and settings."""
        return {"versions": {info.name: info.version for info in self.infos}, **self.decides()}

    def scores(
        self, samples: Sequence[Sample], records: Mapping[str, TaskRecord]
    ) -> Iterator[Score]:
        """Yield a score of each name for each sample."""
        for sample in samples:
            measured = self._of(sample, records)
            for info in self.infos:
                yield scored(sample, info.name, measured)

    def _of(
        self, sample: Sample, records: Mapping[str, TaskRecord]
    ) -> Mapping[str, Measured] | Missing:
        missing = answerless(sample, records)
        return missing or self.measure(sample, records[sample.question_id])


def answerless(sample: Sample, records: Mapping[str, TaskRecord]) -> Missing | None:
    """Return why a sample cannot be measured at all; None where it can."""
    if sample.status != "ok":
        return Missing(sample.error or f"the sample's status is {sample.status}", sample.status)
    if sample.question_id not in records:
        return Missing("the record is not among the questions")
    return None


def scored(sample: Sample, name: str, measured: Mapping[str, Measured] | Missing) -> Score:
    """Return the score of one name; a value that is not finite is none."""
    found = measured if isinstance(measured, Missing) else measured[name]
    if isinstance(found, Value) and not math.isfinite(found.value):
        found = Missing("the value is not finite")
    if isinstance(found, Missing):
        detail = {"reason": found.reason}
        return Score(sample.question_id, sample.repeat, name, found.status, None, detail)
    return Score(
        sample.question_id, sample.repeat, name, "ok", float(found.value), dict(found.detail)
    )
