"""``weights.json``: the log that a run writes by itself, and how it is read back.

It says what happened, not how well the adapter does its work: for that there is an experiment.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from loragraft.adapter.probe_checks import Answer, is_loop
from loragraft.artifact.files import write_atomically
from loragraft.artifact.metadata import plain
from loragraft.errors import InputError

LOG_NAME = "weights.json"
SCHEMA_VERSION = 1
"""Raised when a reader of the old form would misunderstand the new one."""
LARGEST = 256 * 1024 * 1024
"""Bytes of a log that is read: a line of steps has some 150, a sample a few thousand."""

Status = Literal["running", "finished", "stopped-early", "interrupted", "failed"]
STATES: tuple[Status, ...] = ("running", "finished", "stopped-early", "interrupted", "failed")
AlarmKind = Literal[
    "gap", "loss-rises", "validation-rises", "gradient", "not-finite", "loop", "empty"
]


@dataclass(frozen=True)
class Step:
    """One step of the optimiser, or several that follow one another.

    Attributes:
        step: Its number, from 1; of several, the last's.
        epoch: How often the data had been seen then.
        loss: Mean over what the loss counts (tokens of answers, or records), in nats.
        learning_rate: That moved the weights.
        gradient_norm: Before it was shortened; of several steps, the largest. None if unknown.
        tokens: What the loss is a mean over.
        seconds: Spent on it, evaluations left out.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float | None
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Sample:
    """A validation prompt, answered greedily.

    Attributes:
        id: The record's.
        question: The last thing that was asked.
        expected: The answer that the record holds.
        answer: What the model says.
        tokens: How many tokens it has, without the end's.
        ended: Whether the model ended by itself.
        loop: Whether it is caught in a repetition.
    """

    id: str
    question: str
    expected: str
    answer: str
    tokens: int
    ended: bool
    loop: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What a look at the validation data found.

    Attributes:
        step: After which.
        epoch: How often the data had been seen then.
        loss: On the validation data, in nats.
        train_loss: Mean over the steps since the evaluation before; None where there were none.
        gap: ``loss - train_loss``.
        metrics: Others by name.
        samples: Prompts that were answered.
    """

    step: int
    epoch: float
    loss: float
    train_loss: float | None
    gap: float | None
    metrics: Mapping[str, float]
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Alarm:
    """Something that a person should know.

    Attributes:
        kind: What it is about.
        step: When it rang.
        value: What was measured.
        limit: What it may be.
        words: The same as a sentence.
    """

    kind: AlarmKind
    step: int
    value: float
    limit: float
    words: str


@dataclass(frozen=True)
class Best:
    """The evaluation with the lowest loss, and that loss."""

    step: int
    loss: float


@dataclass(frozen=True)
class TrainingLog:
    """What happened in a run; see ``weights.json``.

    Attributes:
        experiment_id: The run's.
        status: How far it came.
        steps: In lines of ``log_every`` steps.
        evaluations: In their order.
        alarms: In their order.
    """

    experiment_id: str
    status: Status
    steps: tuple[Step, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    alarms: tuple[Alarm, ...] = ()

    @property
    def best(self) -> Best | None:
        """The first of the evaluations with the lowest loss; None where there is none."""
        return find_best(self.evaluations)

    @property
    def seconds(self) -> float:
        """Return the time spent on steps."""
        return math.fsum(step.seconds for step in self.steps)

    def training_loss(self, step: int) -> float | None:
        """Return the training loss to hold against the validation loss of a step.

        The mean of the steps since the evaluation before it; where none was made at the step, the
        mean of the last epoch. A single line says little: its batches are few, and of their own
        mixture.
        """
        found = next((one for one in self.evaluations if one.step == step), None)
        if found is not None and found.train_loss is not None:
            return found.train_loss
        last = max((line.epoch for line in self.steps), default=0.0)
        return mean_loss([line for line in self.steps if line.epoch > last - 1])

    def to_json(self) -> dict[str, Any]:
        """Return the log as JSON values."""
        body = {
            "schema_version": SCHEMA_VERSION,
            "experiment_id": self.experiment_id,
            "status": self.status,
            "best": None if self.best is None else asdict(self.best),
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "evaluations": [asdict(item) for item in self.evaluations],
            "steps": [asdict(step) for step in self.steps],
        }
        return dict(plain(body))


def find_best(evaluations: Sequence[Evaluation]) -> Best | None:
    """Return the first evaluation of the lowest loss; one before any step does not count."""
    known = [e for e in evaluations if e.step > 0 and math.isfinite(e.loss)]
    lowest = min(known, key=lambda e: e.loss, default=None)
    return None if lowest is None else Best(lowest.step, lowest.loss)


def merge_steps(steps: Sequence[Step], every: int) -> tuple[Step, ...]:
    """Put steps together in lines that end at multiples of ``every``, the last line earlier."""
    lines: list[Step] = []
    waiting: list[Step] = []
    for step in steps:
        waiting.append(step)
        if step.step % every == 0:
            lines.append(_merged(waiting))
            waiting = []
    return tuple([*lines, _merged(waiting)] if waiting else lines)


def mean_loss(steps: Sequence[Step]) -> float | None:
    """Return the mean over what the steps' losses count; None of no steps."""
    total = sum(step.tokens for step in steps)
    if not total:
        return None
    return math.fsum(step.loss * step.tokens for step in steps) / total


def _merged(steps: Sequence[Step]) -> Step:
    last, loss = steps[-1], mean_loss(steps)
    norms = [step.gradient_norm for step in steps if step.gradient_norm is not None]
    return Step(
        last.step, last.epoch, last.loss if loss is None else loss, last.learning_rate,
        _largest(norms), sum(step.tokens for step in steps),
        math.fsum(step.seconds for step in steps),
    )  # fmt: skip


def _largest(norms: Sequence[float]) -> float | None:
    """Return the largest; NaN, which no comparison finds, if there is one."""
    return next((norm for norm in norms if math.isnan(norm)), max(norms, default=None))


def make_sample(
    record_id: str, question: str, expected: str, answer: str, ids: Sequence[int], *, ended: bool
) -> Sample:
    """Describe an answer.

    Args:
        record_id: Whose question it was.
        question: What was asked last.
        expected: What the record answers.
        answer: What the model said, without special tokens.
        ids: Its tokens; an end token does not belong to them.
        ended: Whether the model ended by itself.
    """
    loop = is_loop(Answer(answer, tuple(ids), ended))
    return Sample(record_id, question, expected, answer, len(ids), ended, loop)


def write_log(folder: Path, log: TrainingLog) -> Path:
    """Write ``weights.json``, whole or not at all.

    Returns:
        Its path.

    Raises:
        OutOfSpaceError: If the disk is full.
    """
    path = folder / LOG_NAME
    text = json.dumps(log.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # Half a character, of a broken tokenizer, can stand in JSON as an escape only.
    write_atomically(path, text.encode("utf-8", "backslashreplace"))
    return path


def read_log(path: Path) -> TrainingLog:
    """Read ``weights.json``.

    Args:
        path: The file, or the folder that holds it.

    Raises:
        InputError: If it is missing, no such log, or of a newer schema.
    """
    file = path / LOG_NAME if path.is_dir() else path
    value = _read_json(file)
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise InputError(f"{file} has no 'schema_version': it is not the log of a training run.")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{file} has schema version {str(version)[:40]}; this loragraft "
            f"reads up to {SCHEMA_VERSION}. Upgrade loragraft."
        )
    try:
        return _log(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{file} is not the log of a training run, or was changed: {type(error).__name__} at "
            f"{error}. Take it from the run's folder again."
        ) from None


def _read_json(file: Path) -> Any:  # noqa: ANN401
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}); expected the log of a training run."
        ) from None
    if len(data) > LARGEST:
        raise InputError(f"{file} is too large to be the log of a training run.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InputError(f"{file} is no JSON; expected the log of a training run.") from None


def _log(value: Mapping[str, Any]) -> TrainingLog:
    if value["status"] not in STATES:
        raise ValueError(f"status {value['status']!r}")
    return TrainingLog(
        str(value["experiment_id"]),
        value["status"],
        tuple(read_step(item) for item in value["steps"]),
        tuple(read_evaluation(item) for item in value["evaluations"]),
        tuple(read_alarm(item) for item in value["alarms"]),
    )


def read_step(value: Mapping[str, Any]) -> Step:
    """Take a step from JSON values, where NaN is a text."""
    norm = value["gradient_norm"]
    return Step(
        int(value["step"]), float(value["epoch"]), float(value["loss"]),
        float(value["learning_rate"]), None if norm is None else float(norm),
        int(value["tokens"]), float(value["seconds"]),
    )  # fmt: skip


def read_evaluation(value: Mapping[str, Any]) -> Evaluation:
    """Take an evaluation from JSON values."""
    before, gap = value["train_loss"], value["gap"]
    return Evaluation(
        int(value["step"]), float(value["epoch"]), float(value["loss"]),
        None if before is None else float(before), None if gap is None else float(gap),
        {str(name): float(number) for name, number in value["metrics"].items()},
        tuple(_sample(item) for item in value["samples"]),
    )  # fmt: skip


def _sample(value: Mapping[str, Any]) -> Sample:
    return Sample(
        str(value["id"]), str(value["question"]), str(value["expected"]), str(value["answer"]),
        int(value["tokens"]), bool(value["ended"]), bool(value["loop"]),
    )  # fmt: skip


def read_alarm(value: Mapping[str, Any]) -> Alarm:
    """Take an alarm from JSON values."""
    return Alarm(
        value["kind"], int(value["step"]), float(value["value"]), float(value["limit"]),
        str(value["words"]),
    )  # fmt: skip
