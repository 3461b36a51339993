"""The log of a run: written, read back, refused where it is none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from loragraft.errors import InputError
from loragraft.training.log import (
    Alarm,
    Evaluation,
    Sample,
    Status,
    Step,
    TrainingLog,
    make_sample,
    mean_loss,
    merge_steps,
    read_log,
    write_log,
)


def step(number: int, loss: float = 2.0, tokens: int = 10, norm: float | None = 1.0) -> Step:
    return Step(number, number / 10, loss, 1e-4, norm, tokens, 0.5)


def a_log() -> TrainingLog:
    sample = Sample("q1", "Who?", "She.", "\x1b[31mHe \ud800", 3, ended=True)
    evaluations = (
        Evaluation(2, 0.2, 1.5, 2.0, -0.5, {"roc_auc": 0.5}, (sample,)),
        Evaluation(4, 0.4, 1.25, 1.0, 0.25, {}),
        Evaluation(6, 0.6, 1.25, math.nan, math.nan, {}),
    )
    alarm = Alarm("gap", 4, 0.5, 0.3, "Too wide.")
    return TrainingLog("run", "finished", (step(1), step(2, norm=None)), evaluations, (alarm,))


def test_a_log_comes_back_as_it_was(tmp_path: Path) -> None:
    log = a_log()
    write_log(tmp_path, log)
    back = read_log(tmp_path)
    assert back.evaluations[0].samples[0].answer == "\x1b[31mHe \ud800"
    assert math.isnan(back.evaluations[2].gap or 0)  # and NaN is equal to nothing:
    assert back.evaluations[:2] == log.evaluations[:2]
    assert (back.steps, back.alarms, back.status) == (log.steps, log.alarms, log.status)


def test_the_best_is_the_first_of_the_lowest_and_never_before_training() -> None:
    log = a_log()
    assert log.best is not None
    assert (log.best.step, log.best.loss) == (4, 1.25)
    before = Evaluation(0, 0.0, 0.1, None, None, {})
    broken = Evaluation(1, 0.1, math.nan, None, None, {})
    assert TrainingLog("x", "running", (), (before, broken)).best is None


def test_lines_end_at_multiples_and_weigh_by_tokens() -> None:
    lines = merge_steps([step(n, loss=n, tokens=n, norm=float(n)) for n in range(1, 6)], 2)
    assert [line.step for line in lines] == [2, 4, 5]
    assert lines[0].loss == pytest.approx((1 + 4) / 3)
    assert (lines[1].tokens, lines[1].gradient_norm, lines[1].seconds) == (7, 4.0, 1.0)
    assert mean_loss([]) is None


def test_the_training_loss_of_a_step_is_that_of_its_evaluation_or_of_the_last_epoch() -> None:
    assert a_log().training_loss(4) == 1.0
    steps = tuple(
        Step(number, number / 2, loss, 1e-4, 1.0, tokens, 0.5)
        for number, loss, tokens in ((1, 9.0, 10), (2, 9.0, 10), (3, 2.0, 30), (4, 1.0, 10))
    )
    assert TrainingLog("run", "finished", steps).training_loss(4) == pytest.approx(1.75)
    assert TrainingLog("run", "interrupted").training_loss(4) is None


def test_the_largest_norm_of_a_line_is_nan_if_one_is() -> None:
    [line] = merge_steps([step(1, norm=math.nan), step(2, norm=3.0), step(3, norm=None)], 3)
    assert math.isnan(line.gradient_norm or 0)


def test_a_loop_is_seen_in_the_tokens() -> None:
    assert make_sample("a", "?", "x", "no no", [5, 6] * 10, ended=False).loop
    assert not make_sample("a", "?", "x", "no no", [5, 6] * 10, ended=True).loop


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("{", "no JSON"),
        ("[]", "no 'schema_version'"),
        ('{"schema_version": true}', "no 'schema_version'"),
        ('{"schema_version": 2}', "Upgrade"),
        ('{"schema_version": 1}', "was changed"),
        ('{"schema_version": 1, "status": "x", "steps": []}', "was changed"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "weights.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=words):
        read_log(path)


@pytest.mark.parametrize(("key", "value"), [("steps", [1]), ("evaluations", [{}]), ("alarms", 5)])
def test_a_changed_log_is_refused(tmp_path: Path, key: str, value: object) -> None:
    body = {**a_log().to_json(), key: value}
    (tmp_path / "weights.json").write_text(json.dumps(body))
    with pytest.raises(InputError, match="was changed"):
        read_log(tmp_path)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
STEPS = st.builds(
    Step, st.integers(1, 10**9), NUMBERS, NUMBERS, NUMBERS, st.none() | NUMBERS,
    st.integers(0, 10**9), NUMBERS,
)  # fmt: skip
SAMPLES = st.builds(Sample, *[st.text()] * 4, st.integers(0, 999), st.booleans(), st.booleans())
EVALUATIONS = st.builds(
    Evaluation, st.integers(0, 10**9), NUMBERS, NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS,
    st.dictionaries(st.text(), NUMBERS, max_size=2), st.lists(SAMPLES, max_size=2).map(tuple),
)  # fmt: skip


@hypothesis.given(
    st.lists(STEPS, max_size=3), st.lists(EVALUATIONS, max_size=2),
    st.sampled_from(["running", "failed"]), st.text(),
)  # fmt: skip
@hypothesis.settings(max_examples=50)
def test_any_log_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[Step],
    evaluations: list[Evaluation],
    status: Status,
    name: str,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    log = TrainingLog(name, status, tuple(steps), tuple(evaluations))
    write_log(folder, log)
    assert repr(read_log(folder)) == repr(log)  # NaN is equal to nothing, and spelled alike
