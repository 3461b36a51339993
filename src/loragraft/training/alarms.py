"""When a run should be looked at: one function an alarm, on what was logged so far."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

from loragraft.training.log import Alarm, AlarmKind, Evaluation, Step, mean_loss, merge_steps

EXPLOSION = 10.0
"""A gradient so many times as long as usual is an explosion: batches differ by a factor of two or
three, a diverging run by hundreds."""
USUAL_STEPS = 50
"""Steps before, whose median norm is what is usual."""
LEAST_STEPS = 10
"""Fewer say nothing of what is usual."""
LINE_STEPS = 10
"""Steps whose mean is one line of the training loss: a single batch may be a hard one."""
LEAST_LINES, LAST_LINES = 5, 3
"""Lines that say what is usual, at least; and lines at the end that are compared with them."""
RISE = 0.5
"""Nats by which the training loss may stand above the usual: e^0.5 is 1.6 times the perplexity."""
GROWTH = 2.0
"""Times that gradients must have grown to be a sign of a rate that is too high."""
SETBACKS = 2
"""Evaluations in a row that must each be worse than the one before: one may be chance."""
QUIET_STEPS = 50
"""After an alarm of gradients or of the training loss, so that one trouble is told once."""


def gap_alarm(evaluation: Evaluation, limit: float) -> Alarm | None:
    """The loss on validation is above that of training by more than allowed."""
    gap = evaluation.gap
    if gap is None or evaluation.train_loss is None or not gap > limit:
        return None
    return Alarm(
        "gap", evaluation.step, gap, limit,
        f"The validation loss {evaluation.loss:.3f} is {gap:.3f} above the training loss "
        f"{evaluation.train_loss:.3f}; {limit:g} is allowed: the model learns the examples by "
        "heart.",
    )  # fmt: skip


def validation_alarm(evaluations: Sequence[Evaluation]) -> Alarm | None:
    """The validation loss has risen several times in a row."""
    last = evaluations[-SETBACKS - 1 :]
    losses = [evaluation.loss for evaluation in last]
    rising = all(b > a for a, b in itertools.pairwise(losses))
    if len(losses) <= SETBACKS or not rising:
        return None
    return Alarm(
        "validation-rises", last[-1].step, losses[-1], losses[0],
        f"The validation loss has risen {SETBACKS} times in a row, from {losses[0]:.3f} to "
        f"{losses[-1]:.3f}.",
    )  # fmt: skip


def loss_alarm(steps: Sequence[Step], alarms: Sequence[Alarm]) -> Alarm | None:
    """The training loss has risen for several lines, and not by the batches' chance.

    Where hard and easy examples are mixed, lines differ by nats while all is well. So the last
    ones must lie above the usual level, and besides above where the run began, or come with
    gradients that have grown.
    """
    step = steps[-1].step
    if step % LINE_STEPS or _is_told("loss-rises", step, alarms):
        return None
    lines = merge_steps(steps, LINE_STEPS)
    past, last = lines[:-LAST_LINES], lines[-LAST_LINES:]
    if len(past) < LEAST_LINES:
        return None
    usual = statistics.median(line.loss for line in past)
    now = mean_loss(last) or 0.0
    risen = now > usual + RISE and min(line.loss for line in last) > usual
    if not (risen and (now > past[0].loss or _typical(last) > GROWTH * _typical(past))):
        return None
    return Alarm(
        "loss-rises", step, now, usual + RISE,
        f"The training loss of the last {LAST_LINES * LINE_STEPS} steps is {now:.3f}, where "
        f"{usual:.3f} was usual before: the learning rate may be too high.",
    )  # fmt: skip


def _typical(lines: Sequence[Step]) -> float:
    """Return the median of the lines' largest gradients; 0 where none is known."""
    norms = [line.gradient_norm for line in lines if line.gradient_norm is not None]
    return statistics.median(norms) if norms else 0.0


def gradient_alarm(steps: Sequence[Step], alarms: Sequence[Alarm]) -> Alarm | None:
    """A gradient is many times as long as usual; one that is no number is another's matter."""
    last = steps[-1]
    before = [s.gradient_norm for s in steps[-USUAL_STEPS - 1 : -1] if s.gradient_norm is not None]
    norm = last.gradient_norm
    if norm is None or not math.isfinite(norm) or len(before) < LEAST_STEPS:
        return None
    limit = EXPLOSION * statistics.median(before)
    if not norm > limit or _is_told("gradient", last.step, alarms):
        return None
    return Alarm(
        "gradient", last.step, norm, limit,
        f"The gradient's norm is {norm:.3g}, {EXPLOSION:g} times the usual {limit / EXPLOSION:.3g} "
        "or more: look at the examples of this step, or lower the learning rate.",
    )  # fmt: skip


def sample_alarms(evaluation: Evaluation) -> list[Alarm]:
    """Answers to validation prompts are caught in loops, or empty."""
    total = len(evaluation.samples)
    found: tuple[tuple[AlarmKind, int, str], ...] = (
        ("loop", sum(s.loop for s in evaluation.samples), "caught in a repetition"),
        ("empty", sum(not s.answer.strip() for s in evaluation.samples), "empty"),
    )
    return [
        Alarm(kind, evaluation.step, count, 0, f"{count} of {total} sample answers {what}.")
        for kind, count, what in found if count
    ]  # fmt: skip


def _is_told(kind: AlarmKind, step: int, alarms: Sequence[Alarm]) -> bool:
    return any(alarm.kind == kind and alarm.step > step - QUIET_STEPS for alarm in alarms)
