"""Someone who watches a run: logs every step and evaluation, and rings the alarms.

It changes nothing of what is trained. The trainer tells it what happens; see ``callbacks.py``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.chat.cleaning import clean
from loragraft.errors import NonFiniteError
from loragraft.training.alarms import (
    gap_alarm,
    gradient_alarm,
    loss_alarm,
    sample_alarms,
    validation_alarm,
)
from loragraft.training.config import EvaluationConfig
from loragraft.training.log import Alarm, Evaluation, Sample, Status, Step, mean_loss, write_log
from loragraft.training.log_lines import LogLines

SHOWN = 160
"""Characters of a sample's answer that are shown while a run goes on; all stand in the log."""

Answering = Callable[[int], "Sample | None"]


class Watch:
    """The log of a run while it goes on.

    Attributes:
        lines: What was logged so far.
    """

    def __init__(
        self,
        lines: LogLines,
        config: EvaluationConfig,
        *,
        folder: Path,
        answer: Answering | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Begin to watch.

        Args:
            lines: To write into.
            config: What is to be looked at, and when.
            folder: Where ``weights.json`` stands, brought up to date at every evaluation.
            answer: Answers the validation prompt of an index greedily; None gives no samples.
            progress: Told of evaluations and alarms.
        """
        self.lines = lines
        self._config, self._folder, self._answer = config, folder, answer
        self._progress = progress or Silent()
        self._losses: list[tuple[Any, int]] = []
        self._norm: Any = None
        self._rate, self._start = 0.0, time.monotonic()

    def hear(self, loss: Any, count: int) -> None:  # noqa: ANN401 - a tensor or a number
        """Take the loss of a batch that goes into the step that is under way.

        Args:
            loss: Summed over what it counts; a tensor stays where it is until the step ends.
            count: What the loss counts: tokens of answers, or records.
        """
        self._losses.append((loss.detach() if hasattr(loss, "detach") else loss, int(count)))

    def gradient(self, norm: Any) -> None:  # noqa: ANN401 - a tensor or a number
        """Take the norm of the step's gradient before it is shortened."""
        self._norm = norm

    def begin_step(self) -> None:
        """Start the clock of a step, and forget batches of one that was given up."""
        self._losses, self._norm, self._start = [], None, time.monotonic()

    def set_rate(self, rate: float) -> None:
        """Take the learning rate that moves the weights in this step."""
        self._rate = rate

    def end_step(self, step: int, epoch: float) -> Step:
        """Log a step, and ring if the gradient or the loss is out of the ordinary."""
        count = sum(number for _, number in self._losses)
        loss = math.fsum(float(value) for value, _ in self._losses) / max(count, 1)
        norm = None if self._norm is None else float(self._norm)
        taken = time.monotonic() - self._start
        done = Step(step, epoch, loss, self._rate, norm, count, taken)
        self.begin_step()
        self.lines.add_step(done)
        steps, alarms = self.lines.steps, self.lines.alarms
        self._ring(gradient_alarm(steps, alarms))
        self._ring(loss_alarm(steps, alarms))
        return done

    def evaluated(
        self, step: int, epoch: float, loss: float, metrics: Mapping[str, float]
    ) -> Evaluation:
        """Log an evaluation with its samples, and ring if there is something to ring for.

        One that a run repeats when it goes on from a checkpoint is not logged twice.
        """
        self.begin_step()  # the time it took is no step's
        if self.lines.evaluations and self.lines.evaluations[-1].step == step:
            return self.lines.evaluations[-1]
        before = mean_loss(self.lines.since_evaluation())
        gap = None if before is None else loss - before
        samples = self._samples()
        done = Evaluation(step, epoch, loss, before, gap, dict(metrics), samples)
        self.lines.add_evaluation(done)
        self._tell(done)
        for alarm in (gap_alarm(done, self._config.gap),
                      validation_alarm(self.lines.evaluations), *sample_alarms(done)):  # fmt: skip
            self._ring(alarm)
        self.write("running")
        return done

    def not_finite(self, step: int, what: str, value: float) -> NonFiniteError:
        """Log that a value is no number, and return the error to stop with.

        Args:
            step: In which.
            what: Such as "loss" or "gradient".
            value: NaN or an infinity.
        """
        words = (
            f"The {what} is {value} in step {step}: training cannot go on. Lower "
            "optimiser.learning_rate, set precision: float32, or look for broken examples."
        )
        self._ring(Alarm("not-finite", step, value, math.inf, words))
        self.write("failed")
        return NonFiniteError(words)

    def write(self, status: Status) -> None:
        """Bring ``weights.json`` up to date."""
        write_log(self._folder, self.lines.log(status, self._config.log_every))

    def _samples(self) -> tuple[Sample, ...]:
        if self._answer is None:
            return ()
        found = (self._answer(index) for index in range(self._config.samples))
        return tuple(sample for sample in found if sample is not None)

    def _ring(self, alarm: Alarm | None) -> None:
        if alarm is not None:
            self.lines.add_alarm(alarm)
            self._progress.note(f"Step {alarm.step}, alarm: {alarm.words}")

    def _tell(self, done: Evaluation) -> None:
        words = f"Step {done.step}: validation loss {done.loss:.4f}"
        if done.train_loss is not None:
            words += f", training {done.train_loss:.4f}"
        more = (f", {name} {value:.4g}" for name, value in done.metrics.items())
        self._progress.note(words + "".join(more))
        for sample in done.samples[:1]:
            self._progress.note(f"  {_short(sample.question)}\n  -> {_short(sample.answer)}")


def _short(text: str) -> str:
    line = " ".join(clean(text).split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
