"""The mean of other experiments' numbers: several adapters, or folds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from loragraft.engine.batch.protocol import BatchEngine
from loragraft.errors import InputError
from loragraft.experiment.arms.asking import sample_of
from loragraft.experiment.arms.direct import UnaskedArm
from loragraft.experiment.arms.protocol import Asked
from loragraft.experiment.config import TaskKind
from loragraft.experiment.records import Sample

SamplesOf = Callable[[str], Iterable[Sample]]
"""Gives the samples of an experiment."""


class AverageArm(UnaskedArm):
    """An arm whose numbers are the means of other arms'.

    A question has a number if each part has one: a mean of those that are there would be another
    quantity on each question. A part that was asked several times counts once, with its mean.
    """

    def __init__(
        self, name: str, task: TaskKind, parts: Sequence[str], samples_of: SamplesOf
    ) -> None:
        """Name the experiment and its parts.

        Raises:
            InputError: If the task has no numbers.
        """
        if task not in ("score", "embedding"):
            raise InputError(
                f"{name} averages experiments of the task {task}, which have no numbers. Average "
                "those of the task score or embedding."
            )
        super().__init__(name)
        self.task, self.parts = task, tuple(parts)
        self._samples_of = samples_of

    def identity(self) -> dict[str, Any]:
        """Return what decides a sample beside its parts' samples."""
        return {"task": self.task, "average": list(self.parts)}

    def samples(self, asked: Sequence[Asked], engine: BatchEngine | None) -> Iterator[Sample]:
        """Yield one sample of each."""
        del engine
        given = {part: _by_question(self._samples_of(part)) for part in self.parts}
        for one in asked:
            name = one.question.record.id
            yield self._mean(one, {part: given[part].get(name, []) for part in self.parts})

    def _mean(self, asked: Asked, parts: dict[str, list[Sample]]) -> Sample:
        numbers: dict[str, float] = {}
        for part, samples in parts.items():
            good = [one.parsed for one in samples if one.status == "ok" and one.parsed is not None]
            if not good:
                return self._lacking(asked, part, samples)
            numbers[part] = math.fsum(good) / len(good)
        value = math.fsum(numbers.values()) / len(numbers)
        text = f"{value:.6g}"
        return sample_of(
            self.name, asked, raw=text, answer=text, parsed=value, extra={"parts": numbers}
        )

    def _lacking(self, asked: Asked, part: str, samples: Sequence[Sample]) -> Sample:
        """Return a sample without a number, with the status of the part that has none."""
        if not samples:
            error = f"{part} has no answer to this question. Run it to its end."
            return sample_of(self.name, asked, status="unscorable", error=error)
        first = samples[0]
        status = "unscorable" if first.status == "ok" else first.status
        error = f"{part} has no number for this question: {first.error or first.status}"
        return sample_of(self.name, asked, status=status, error=error)


def _by_question(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.question_id, []).append(sample)
    return found
