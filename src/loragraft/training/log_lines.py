"""What a run has logged so far, in lines on the disk that survive a kill."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loragraft.artifact.closing import Closing
from loragraft.artifact.files import sync_file
from loragraft.artifact.journal import Journal
from loragraft.artifact.metadata import plain
from loragraft.errors import InputError
from loragraft.training.log import (
    Alarm,
    Evaluation,
    Status,
    Step,
    TrainingLog,
    merge_steps,
    read_alarm,
    read_evaluation,
    read_step,
)

LINES_NAME = "weights.jsonl"


class LogLines(Closing):
    """The lines of a run, one a step, an evaluation or an alarm; a context manager.

    A run that goes on from a checkpoint takes over what was logged up to its step and repeats the
    rest, so that no step is missing and none stands there twice.

    Attributes:
        experiment_id: The run's.
        steps: In their order, each on its own.
        evaluations: In their order.
        alarms: In their order.
    """

    def __init__(self, path: Path, experiment_id: str, *, after: int = 0) -> None:
        """Open the lines and forget what lies behind a checkpoint.

        Args:
            path: The file; its folder must exist.
            experiment_id: The run's; lines of another are dropped.
            after: Step of the checkpoint that the run goes on from; 0 begins anew.

        Raises:
            OutOfSpaceError: If the disk is full.
            InputError: If a line was changed by someone.
        """
        self.experiment_id = experiment_id
        self.steps: list[Step] = []
        self.evaluations: list[Evaluation] = []
        self.alarms: list[Alarm] = []
        self._path = path
        if not after:
            path.unlink(missing_ok=True)
        self._journal = _cut(path, experiment_id, after)
        try:
            for entry in self._journal.entries:
                self._take(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._journal.close()
            raise InputError(
                f"{path} holds a line that no run has logged ({type(error).__name__} at {error}). "
                "Run the command again with --restart."
            ) from None

    def _take(self, entry: Mapping[str, Any]) -> None:
        kind = entry["line"]
        if kind == "step":
            self.steps.append(read_step(entry))
        elif kind == "evaluation":
            self.evaluations.append(read_evaluation(entry))
        else:
            self.alarms.append(read_alarm(entry))

    def add_step(self, step: Step) -> None:
        """Log a step of the optimiser."""
        self._write("step", step)
        self.steps.append(step)

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Log an evaluation, and flush all lines: a checkpoint may follow that relies on them."""
        self._write("evaluation", evaluation)
        self.evaluations.append(evaluation)
        sync_file(self._path)

    def add_alarm(self, alarm: Alarm) -> None:
        """Log an alarm."""
        self._write("alarm", alarm)
        self.alarms.append(alarm)

    def _write(self, line: str, value: Step | Evaluation | Alarm) -> None:
        self._journal.append({"line": line, **plain(asdict(value))})

    def since_evaluation(self) -> Sequence[Step]:
        """Return the steps that no evaluation has seen yet."""
        last = self.evaluations[-1].step if self.evaluations else 0
        return [step for step in self.steps if step.step > last]

    def log(self, status: Status, every: int) -> TrainingLog:
        """Return what ``weights.json`` holds, steps in lines of ``every``."""
        return TrainingLog(
            self.experiment_id, status, merge_steps(self.steps, every),
            tuple(self.evaluations), tuple(self.alarms),
        )  # fmt: skip

    def close(self) -> None:
        """Close the file; twice does no harm."""
        self._journal.close()


def _cut(path: Path, key: str, after: int) -> Journal:
    """Open a journal without the lines behind a step."""
    journal = Journal(path, key)
    kept = [entry for entry in journal.entries if _is_before(entry, after)]
    if len(kept) == len(journal.entries):
        return journal
    journal.close()
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with Journal(draft, key) as fresh:
            for entry in kept:
                fresh.append(entry)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return Journal(path, key)


def _is_before(entry: Mapping[str, Any], after: int) -> bool:
    step = entry.get("step")
    return isinstance(step, int) and step <= after
