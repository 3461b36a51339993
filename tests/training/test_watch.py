"""Whoever watches a run: what it logs, and when it rings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragraft.artifact.progress import Silent
from loragraft.errors import NonFiniteError
from loragraft.training.config import EvaluationConfig
from loragraft.training.log import Sample, make_sample, read_log
from loragraft.training.log_lines import LogLines
from loragraft.training.watch import Watch


class Noted(Silent):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        """Begin with none."""
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[LogLines]:
    with LogLines(tmp_path / "weights.jsonl", "run") as opened:
        yield opened


def watching(lines: LogLines, tmp_path: Path, **more: object) -> Watch:
    return Watch(lines, EvaluationConfig(), folder=tmp_path, **more)  # type: ignore[arg-type]


def walk(watch: Watch, losses: list[float], *, first: int = 1, norm: float = 1.0) -> None:
    """Go through one step a loss, in two batches of unequal size."""
    for number, loss in enumerate(losses, first):
        watch.begin_step()
        watch.hear(loss * 30, 30)
        watch.hear(loss * 10, 10)
        watch.gradient(norm)
        watch.set_rate(1e-4)
        watch.end_step(number, number / 10)


def kinds(lines: LogLines) -> list[str]:
    return [alarm.kind for alarm in lines.alarms]


def test_a_step_is_the_mean_over_all_its_tokens(lines: LogLines, tmp_path: Path) -> None:
    watch = watching(lines, tmp_path)
    watch.hear(1e9, 1)  # of a step that was given up
    walk(watch, [2.5])
    [step] = lines.steps
    assert (step.loss, step.tokens, step.learning_rate) == (2.5, 40, 1e-4)
    assert step.gradient_norm == 1.0


def test_the_gap_is_against_the_steps_since_the_evaluation_before(
    lines: LogLines, tmp_path: Path
) -> None:
    noted = Noted()
    watch = watching(lines, tmp_path, progress=noted)
    walk(watch, [4.0, 2.0])
    first = watch.evaluated(2, 0.2, 1.5, {})
    assert (first.train_loss, first.gap) == (3.0, -1.5)
    walk(watch, [1.0, 0.5], first=3)
    second = watch.evaluated(4, 0.4, 1.25, {"roc_auc": 0.5})
    assert (second.train_loss, second.gap) == (0.75, 0.5)
    [alarm] = lines.alarms
    assert (alarm.kind, alarm.step, alarm.value, alarm.limit) == ("gap", 4, 0.5, 0.3)
    assert noted.notes[-2:] == [
        "Step 4: validation loss 1.2500, training 0.7500, roc_auc 0.5",
        "Step 4, alarm: " + alarm.words,
    ]
    assert read_log(tmp_path).status == "running"


def test_a_gap_below_the_limit_is_none(lines: LogLines, tmp_path: Path) -> None:
    watch = watching(lines, tmp_path)
    walk(watch, [1.0])
    watch.evaluated(1, 0.1, 1.29, {})
    assert not kinds(lines)


def test_validation_that_rises_twice_in_a_row_rings(lines: LogLines, tmp_path: Path) -> None:
    watch = watching(lines, tmp_path)
    for number, loss in enumerate([1.0, 0.9, 0.91, 0.90, 0.91, 0.92], 1):
        watch.evaluated(number, number, loss, {})
    assert [(a.kind, a.step) for a in lines.alarms] == [("validation-rises", 6)]


def test_a_training_loss_above_its_beginning_rings_once(lines: LogLines, tmp_path: Path) -> None:
    watch = watching(lines, tmp_path)
    walk(watch, [3.0] * 20 + [1.0] * 29 + [9.0])  # one hard batch is no rise
    assert not kinds(lines)
    walk(watch, [4.0] * 60, first=51)
    assert [(a.kind, a.step) for a in lines.alarms] == [("loss-rises", 80)]


def test_a_training_loss_that_rises_with_its_gradients_rings(
    lines: LogLines, tmp_path: Path
) -> None:
    watch = watching(lines, tmp_path)
    walk(watch, [3.0] * 10 + [1.0] * 40)
    walk(watch, [2.0] * 30, first=51, norm=2.5)
    assert [(a.kind, a.step) for a in lines.alarms] == [("loss-rises", 80)]


MIXED = (
    (3.094, 2.77), (1.851, 3.96), (1.542, 2.71), (1.788, 6.24), (0.923, 4.94), (1.953, 3.96),
    (0.319, 4.88), (0.374, 3.85), (2.121, 2.69), (1.636, 3.71), (1.533, 3.52), (1.967, 2.37),
    (1.068, 1.80), (1.718, 1.80), (0.462, 2.68), (0.376, 2.09), (1.242, 3.18), (1.055, 1.51),
    (1.496, 1.61), (1.671, 3.26), (0.431, 1.68), (1.252, 1.94), (1.221, 1.50), (0.063, 0.86),
)  # fmt: skip
"""Losses and gradients of a healthy run, ten steps a line: questions with passages, which are easy,
and without, which are hard, as chance has mixed them."""


def test_a_healthy_run_on_mixed_data_rings_nothing(lines: LogLines, tmp_path: Path) -> None:
    watch = watching(lines, tmp_path)
    for number, (loss, norm) in enumerate(MIXED):
        walk(watch, [loss] * 10, first=10 * number + 1, norm=norm)
    assert not lines.alarms


def test_an_exploding_gradient_rings_once(lines: LogLines, tmp_path: Path) -> None:
    watch = watching(lines, tmp_path)
    walk(watch, [1.0], norm=100.0)  # the first steps say nothing of what is usual
    walk(watch, [1.0] * 12, first=2)
    walk(watch, [1.0] * 2, first=14, norm=10.5)
    assert [(a.kind, a.step, a.value) for a in lines.alarms] == [("gradient", 14, 10.5)]


def test_answers_that_loop_or_are_empty_ring(lines: LogLines, tmp_path: Path) -> None:
    def answer(index: int) -> Sample | None:
        if index == 2:
            return None
        text = ("no " * 20, " \n")[index]
        return make_sample(f"q{index}", "Why\x1b[2J?", "So.", text, [7] * 20, ended=index == 1)

    noted = Noted()
    watch = watching(lines, tmp_path, answer=answer, progress=noted)
    done = watch.evaluated(1, 0.1, 1.0, {})
    assert len(done.samples) == 2
    assert [(a.kind, a.value) for a in lines.alarms] == [("loop", 1), ("empty", 1)]
    assert not any("\x1b" in note for note in noted.notes)
    assert max(map(len, noted.notes[1].splitlines())) < 180


def test_a_loss_that_is_no_number_is_logged_and_explained(lines: LogLines, tmp_path: Path) -> None:
    watch = watching(lines, tmp_path)
    walk(watch, [1.0])
    error = watch.not_finite(2, "loss", math.nan)
    assert isinstance(error, NonFiniteError)
    assert "learning_rate" in str(error)
    log = read_log(tmp_path)
    assert log.status == "failed"
    assert [a.kind for a in log.alarms] == ["not-finite"]
    assert math.isnan(log.alarms[0].value)


def test_an_evaluation_that_is_repeated_after_a_kill_is_logged_once(
    lines: LogLines, tmp_path: Path
) -> None:
    watch = watching(lines, tmp_path)
    walk(watch, [1.0])
    first = watch.evaluated(1, 0.1, 2.0, {})
    assert watch.evaluated(1, 0.1, 2.0, {}) == first
    assert len(lines.evaluations) == 1
    assert kinds(lines) == ["gap"]
