"""What arms have in common that ask no language model, and those that compute a number."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loragraft.dataset.records import TaskRecord
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.errors import NonFiniteError
from loragraft.experiment.arms.asking import check_kind, faults, sample_of
from loragraft.experiment.arms.protocol import Asked, Question
from loragraft.experiment.config import TaskKind
from loragraft.experiment.records import Sample


class UnaskedArm(ABC):
    """An arm whose samples come of no engine; see :class:`~.protocol.Arm`."""

    asks = False
    parts: tuple[str, ...] = ()
    repeats = 1
    task: TaskKind

    def __init__(self, name: str) -> None:
        """Name the experiment."""
        self.name = name

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what decides a sample."""

    @abstractmethod
    def samples(self, asked: Sequence[Asked], engine: BatchEngine | None) -> Iterator[Sample]:
        """Yield one sample of each, as it is ready."""

    def context_needed(self, records: Sequence[TaskRecord]) -> int | None:
        """Return None: there is no engine."""
        del records
        return None

    def prepare(self, record: TaskRecord, engine: BatchEngine | None) -> Question:
        """Make a question of a record."""
        del engine
        check_kind(self.name, self.task, record)
        return Question(record)

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Free what is held and not shared."""


class DirectArm(UnaskedArm):
    """An arm that computes its numbers itself.

    Each record goes through the model by itself, so that its number does not depend on which
    others are asked.
    """

    @abstractmethod
    def number(self, record: TaskRecord) -> tuple[float, Mapping[str, Any]]:
        """Return a record's number, and what its sample's ``extra`` holds."""

    def samples(self, asked: Sequence[Asked], engine: BatchEngine | None) -> Iterator[Sample]:
        """Yield one sample of each, as it is ready."""
        del engine
        yield from faults(self.name, asked)
        for one in asked:
            if not one.question.fault:
                yield self._sample(one)

    def _sample(self, asked: Asked) -> Sample:
        start = time.perf_counter()
        try:
            value, extra = self.number(asked.question.record)
        except NonFiniteError as error:
            return sample_of(self.name, asked, status="error", error=str(error))
        if not math.isfinite(value):
            why = f"{self.name} computes {value} for this record. Take an earlier checkpoint."
            return sample_of(self.name, asked, status="error", error=why)
        seconds = time.perf_counter() - start
        text = f"{value:.6g}"
        return sample_of(
            self.name, asked, raw=text, answer=text, parsed=value, extra=extra, seconds=seconds
        )
