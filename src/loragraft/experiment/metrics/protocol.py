"""What every metric is: a name, a unit, and scores of samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from loragraft.dataset.records import TaskRecord
from loragraft.experiment.records import Sample, Score


@dataclass(frozen=True)
class MetricInfo:
    """What a person must know of a metric.

    Attributes:
        name: As in tables: ``factuality``.
        unit: ``share``, ``nats``, ``points`` ...
        better: Which way is better; None for neither.
        tier: ``sanity`` catches catastrophes only; ``main`` is what verdicts rest on.
        source: Where its definition stands.
        version: Raised whenever the same sample may get another value.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"] | None
    tier: Literal["sanity", "main", "diagnostic"]
    source: str
    version: int = 1


class Metric(Protocol):
    """Scores samples."""

    @property
    def infos(self) -> tuple[MetricInfo, ...]:
        """What it scores: one or several names that are computed together."""

    def identity(self) -> dict[str, Any]:
        """Return what decides its values beside sample and record, as JSON values."""

    def scores(
        self, samples: Sequence[Sample], records: Mapping[str, TaskRecord]
    ) -> Iterator[Score]:
        """Yield one score of each name for each sample, ``ok`` or with the reason why not.

        A sample whose own status is not ``ok`` gets that status. Values are finite.
        """
