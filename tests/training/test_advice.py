"""Advice: each rule is triggered by its figures, names them, and stays silent otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from loragraft.training.advice import advise, scaled_alpha
from loragraft.training.config import TrainConfig
from loragraft.training.log import Alarm, Evaluation, Sample, Step, TrainingLog, make_sample


def config(**more: Any) -> TrainConfig:  # noqa: ANN401
    lora = {"r": 16, "alpha": 32, "dropout": 0.1, **more.pop("lora", {})}
    values = {"experiment_id": "run", "base": "b", "data": {"tag": "t"}, "lora": lora, **more}
    return TrainConfig.model_validate(values)


def a_log(
    train: Sequence[float], validation: Sequence[float], samples: Sequence[Sample] = ()
) -> TrainingLog:
    """A log of a line and an evaluation for each pair of losses, ten steps apart."""
    steps, seen = [], []
    for number, (a, b) in enumerate(zip(train, validation, strict=True), 1):
        steps.append(Step(10 * number, number, a, 1e-4, 1.0, 100, 1.0))
        seen.append(Evaluation(10 * number, number, b, a, b - a, {}, tuple(samples)))
    return TrainingLog("run", "finished", tuple(steps), tuple(seen))


HEALTHY = a_log([2.0, 1.5, 1.3, 1.25, 1.25], [1.6, 1.4, 1.3, 1.295, 1.29])


def test_a_healthy_run_has_nothing_to_change() -> None:
    [advice] = advise(HEALTHY, config())
    assert (advice.kind, advice.change) == ("none", "")
    assert "1.290" in advice.because


def test_a_gap_is_overfitting() -> None:
    [advice] = advise(a_log([2.0, 1.0, 0.5], [1.5, 1.3, 1.31]), config())
    assert advice.kind == "overfitting"
    assert "0.810 above the training loss (1.310 against 0.500; 0.3 is allowed)" in advice.because
    assert advice.change == (
        "lora.r 16 -> 8 with lora.alpha 32 -> 16, so that alpha / r stays; "
        "lora.dropout 0.1 -> 0.15; optimiser.epochs 2 -> 1"
    )


def test_a_loss_that_turned_is_overfitting() -> None:
    [advice] = advise(a_log([2.0, 1.5, 1.4], [1.5, 1.3, 1.4]), config())
    assert advice.kind == "overfitting"
    assert "lowest at step 20 of 30 (1.300) and rose to 1.400" in advice.because
    [within] = advise(a_log([2.0, 1.5, 1.3], [1.5, 1.3, 1.31]), config())
    assert within.kind == "none"


def test_less_ends_somewhere() -> None:
    small = config(lora={"r": 2, "dropout": 0.29}, optimiser={"epochs": 1})
    [advice] = advise(a_log([2.0, 1.0, 0.5], [1.5, 1.3, 1.31]), small)
    assert advice.change == (
        "lora.dropout 0.29 -> 0.3; optimiser.learning_rate 0.0001 -> 5e-05, or more data"
    )
    [half] = advise(a_log([2.0, 1.0, 0.5], [1.5, 1.3, 1.31]), config(optimiser={"epochs": 1.5}))
    assert "optimiser.epochs 1.5 -> 1" in half.change


def test_an_adapter_that_is_no_better_than_the_base_is_told() -> None:
    log = a_log([2.0, 1.9, 1.85], [1.7, 1.65, 1.64])
    before = Evaluation(0, 0, 1.6, None, None, {}, ())
    [advice] = advise(replace(log, evaluations=(before, *log.evaluations)), config())
    assert advice.kind == "unstable"
    assert "was 1.600 before training" in advice.because
    assert "lowest 1.640 at step 30" in advice.because
    worse = replace(before, loss=1.8)
    found = advise(replace(log, evaluations=(worse, *log.evaluations)), config())
    assert {one.kind for one in found} == {"none"}


def test_a_loss_that_still_falls_is_underfitting() -> None:
    [advice] = advise(a_log([3.0, 2.5, 2.0, 1.5], [2.8, 2.4, 2.0, 1.6]), config())
    assert advice.kind == "underfitting"
    assert "from 2.000 at step 30 to 1.600 at step 40" in advice.because
    assert advice.change.startswith(
        "lora.r 16 -> 32 with lora.alpha 32 -> 64, so that alpha / r stays; "
        "optimiser.epochs 2 -> 3; review the data: whether the answers follow from the questions"
    )


def test_a_loss_that_hardly_fell_is_underfitting() -> None:
    [advice] = advise(a_log([2.0, 1.99, 1.98], [2.0, 1.99, 1.985]), config())
    assert advice.kind == "underfitting"
    assert "fallen by 1.0% only, from 2.000 to 1.980" in advice.because
    [risen] = advise(a_log([2.0, 2.1], [2.0, 1.99]), config(lora={"r": 128}))
    assert "has risen, from 2.000 to 2.100" in risen.because
    assert "lora.r" not in risen.change


def test_a_run_that_stopped_early_is_not_told_to_go_on() -> None:
    falling = a_log([3.0, 2.5, 2.0, 1.5], [2.8, 2.4, 2.0, 1.6])
    [advice] = advise(replace(falling, status="stopped-early"), config())
    assert advice.kind == "none"


def test_overfitting_silences_underfitting() -> None:
    both = a_log([2.0, 1.99, 1.98], [2.9, 2.8, 2.6])
    assert [advice.kind for advice in advise(both, config())] == ["overfitting"]


def test_alarms_of_gradients_are_instability() -> None:
    alarm = Alarm("gradient", 7, 100.0, 10.0, "The gradient's norm is 100.")
    [advice] = advise(replace(HEALTHY, alarms=(alarm, alarm)), config())
    assert advice.kind == "unstable"
    assert advice.because == "2 alarms, the first: The gradient's norm is 100."
    assert "0.0001 -> 5e-05" in advice.change


def test_without_validation_nothing_is_said_of_overfitting() -> None:
    log = TrainingLog("run", "finished", HEALTHY.steps)
    assert [advice.kind for advice in advise(log, config())] == ["no-validation"]


def test_rank_keeps_the_scale_of_the_change() -> None:
    assert scaled_alpha(config().lora, 8) == 16
    assert scaled_alpha(config(lora={"rslora": True}).lora, 8) == 32
    [advice] = advise(a_log([2.0, 1.0, 0.5], [1.5, 1.3, 1.31]), config(lora={"rslora": True}))
    assert advice.change.startswith("lora.r 16 -> 8; ")


GOOD = ("The lamp is blue at night.", "It was first seen in the north.", "Four of them were kept.")


def said(*answers: str, ids: Sequence[int] = (), ended: bool = True) -> list[Sample]:
    """Samples whose expected answers are the good ones."""
    pairs = zip(GOOD, answers, strict=True)
    return [make_sample(f"q{n}", "?", good, answer, ids, ended=ended)
            for n, (good, answer) in enumerate(pairs)]  # fmt: skip


@pytest.mark.parametrize(
    ("samples", "because", "change"),
    [
        (said(*GOOD, ids=[3] * 20, ended=False), "3 of 3 sample answers are caught", "diverse"),
        (said("", " ", "Four."), "2 of 3 sample answers are empty", "loosen"),
        (said("No.", "no.", "NO."), "3 questions got 1 distinct answers", "temperature of 0.7"),
        (said(*(f"{w} a a a a a a a a" for w in "xyz")), "% of the pairs of words", "diverse"),
        (said(*(f"{g} {g[::-1]} {g.upper()}1 {g}2" for g in GOOD)), "has 24 words", "strictly"),
        (said("Blue.", "North.", "Four."), "has 1 words, that of the examples 6", "loosen"),
        (said(*(" ".join(f"{w}{n}" for n in range(13)) for w in "abc"), ids=range(64),
              ended=False), "find no end within 64 tokens", "end token"),
    ],
)  # fmt: skip
def test_style_drift(samples: list[Sample], because: str, change: str) -> None:
    log = a_log([2.0, 1.5, 1.3, 1.25], [1.6, 1.4, 1.3, 1.29], samples)
    [advice] = advise(log, config())
    assert advice.kind == "style-drift"
    assert because in advice.because
    assert change in advice.change
    assert advice.because.endswith("these are the samples of step 40.")
    assert advice.words == f"{advice.because} Change: {advice.change}."


@pytest.mark.parametrize("samples", [said(*GOOD), said(*GOOD)[:2], said("", "", "")[:2]])
def test_answers_like_the_examples_are_no_drift(samples: list[Sample]) -> None:
    log = a_log([2.0, 1.5, 1.3, 1.25], [1.6, 1.4, 1.3, 1.29], samples)
    assert [advice.kind for advice in advise(log, config())] == ["none"]


def test_scores_have_no_length_to_keep_to() -> None:
    samples = [make_sample(f"q{n}", "?", f"{n % 2}.0", f"about 0.{n}", (), ended=True)
               for n in range(4)]  # fmt: skip
    log = a_log([2.0, 1.5, 1.3, 1.25], [1.6, 1.4, 1.3, 1.29], samples)
    assert [advice.kind for advice in advise(log, config())] == ["none"]


@pytest.mark.parametrize("task", ["sequence-classification", "embedding"])
def test_answers_that_are_numbers_have_no_style(task: str) -> None:
    samples = [make_sample(f"q{n}", "A long question.", "0.0", "", (), ended=True)
               for n in range(4)]  # fmt: skip
    log = a_log([2.0, 1.5, 1.3, 1.25], [1.6, 1.4, 1.3, 1.29], samples)
    assert [advice.kind for advice in advise(log, config(task=task))] == ["none"]
