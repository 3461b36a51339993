"""Lines of a log that survive a kill, cut back to a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from loragraft.errors import InputError
from loragraft.training.log import Alarm, Evaluation, Step
from loragraft.training.log_lines import LogLines


def fill(lines: LogLines, first: int, last: int) -> None:
    """Log steps with an evaluation every second and an alarm at the third."""
    for number in range(first, last + 1):
        lines.add_step(Step(number, number / 4, 1.0 / number, 1e-4, 1.0, 5, 0.1))
        if number % 2 == 0:
            lines.add_evaluation(Evaluation(number, number / 4, 1.0, 1.0, 0.0, {"f1": 0.5}))
        if number == 3:
            lines.add_alarm(Alarm("gap", 3, math.inf, 0.3, "Wide."))


def test_a_run_that_goes_on_logs_what_an_unbroken_one_does(tmp_path: Path) -> None:
    with LogLines(tmp_path / "whole.jsonl", "run") as lines:
        fill(lines, 1, 8)
        unbroken = lines.log("finished", 3)
    broken = tmp_path / "broken.jsonl"
    with LogLines(broken, "run") as lines:
        fill(lines, 1, 7)
    with broken.open("ab") as file:
        file.write(b'{"line": "step", "st')  # cut off in the middle by the kill
    with LogLines(broken, "run", after=4) as lines:
        assert [step.step for step in lines.steps] == [1, 2, 3, 4]
        fill(lines, 5, 8)
        assert lines.log("finished", 3) == unbroken
    assert broken.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_cut_is_on_the_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    with LogLines(path, "run") as lines:
        fill(lines, 1, 5)
    LogLines(path, "run", after=2).close()
    with LogLines(path, "run", after=5) as lines:
        assert [step.step for step in lines.steps] == [1, 2]
    assert [item.name for item in tmp_path.iterdir()] == ["lines.jsonl"]


def test_beginning_anew_and_another_run_forget_everything(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    for name, after in (("run", 0), ("other", 9)):
        with LogLines(path, "run") as lines:
            fill(lines, 1, 3)
        with LogLines(path, name, after=after) as lines:
            assert not lines.steps
            assert not lines.alarms


def test_steps_since_the_last_evaluation(tmp_path: Path) -> None:
    with LogLines(tmp_path / "lines.jsonl", "run") as lines:
        fill(lines, 1, 5)
        assert [step.step for step in lines.since_evaluation()] == [5]


def test_lines_that_someone_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    with LogLines(path, "run") as lines:
        fill(lines, 1, 2)
    path.write_text(path.read_text().replace('"loss"', '"lots"'))
    with pytest.raises(InputError, match="--restart"):
        LogLines(path, "run", after=2)
