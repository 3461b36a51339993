"""Predictions in the form that competitions take: a CSV of id and score."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loragraft.artifact.files import write_atomically
from loragraft.errors import InputError
from loragraft.experiment.arm_run import folder_of
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.questions import QuestionFile
from loragraft.experiment.records import Sample
from loragraft.experiment.run import resolved
from loragraft.experiment.store import read_samples

HEADER = ("id", "score")


@dataclass(frozen=True)
class Predictions:
    """Numbers for questions.

    Attributes:
        scores: By question, in the questions' order; the mean of several answers.
        missing: Questions without one.
        filled: What stands in their place; None where they are left out.
    """

    scores: Mapping[str, float]
    missing: tuple[str, ...]
    filled: float | None = None

    def rows(self) -> list[tuple[str, str]]:
        """Return id and score of every line."""
        return [(name, repr(value)) for name, value in self.scores.items()]


def choose_experiment(config: SeriesConfig, name: str | None) -> str:
    """Return the experiment that a name means, or the only one that gives numbers.

    Raises:
        InputError: If there is no such one, or several and none is named.
    """
    if name is not None:
        return resolved(config, name)
    numeric = [n for n, one in config.experiments.items() if one.task in ("score", "embedding")]
    if len(numeric) != 1:
        if not numeric:
            raise InputError(
                f"No experiment of {config.series} gives numbers. Predictions are of experiments "
                "whose task is score or embedding; what the others are worth, report says."
            )
        raise InputError(
            f"Which experiment of {config.series} gives the numbers? {', '.join(numeric)} do: name "
            "one with --only."
        )
    return numeric[0]


def predictions_of(config: SeriesConfig, name: str, fill: float | None = None) -> Predictions:
    """Return the numbers that an experiment gave.

    Args:
        config: The series.
        name: Of the experiment.
        fill: Stands for questions without a number; None leaves them out.

    Raises:
        InputError: If the experiment gives no numbers, or has not been run.
    """
    task = config.experiments[name].task
    if task not in ("score", "embedding"):
        raise InputError(
            f"{name} answers records of the kind {task}, which are no numbers. Predictions are of "
            "experiments whose task is score or embedding."
        )
    questions = QuestionFile(config).of(task)
    there = read_samples(folder_of(config, name))
    if not there:
        raise InputError(
            f"{name} has no samples yet. Run it: loragraft experiment run CONFIG --only {name}."
        )
    by_question: dict[str, list[Sample]] = {}
    for sample in there.values():
        if questions.digests.get(sample.question_id) == sample.record:
            by_question.setdefault(sample.question_id, []).append(sample)
    scores: dict[str, float] = {}
    missing = []
    for record in questions.records:
        value = _mean(by_question.get(record.id, ()))
        missing += [record.id] if value is None else []
        if value is None:
            value = fill
        if value is not None:
            scores[record.id] = value
    return Predictions(scores, tuple(missing), fill)


def _mean(samples: Sequence[Sample]) -> float | None:
    values = [s.parsed for s in samples if s.status == "ok" and s.parsed is not None]
    return sum(values) / len(values) if values else None


def write_csv(path: Path, predictions: Predictions) -> None:
    """Write predictions; the file shows the old or the new content, never a part.

    Raises:
        InputError: If nothing can be written there.
        OutOfSpaceError: If the disk is full.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(predictions.rows())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.getvalue().encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
