"""Broken outputs are found, each kind of them; sound ones are let pass."""

from __future__ import annotations

import json
import math

import pytest

from loragraft.experiment.config import MonitorConfig, TaskKind
from loragraft.experiment.metrics.monitor import Degenerate, Monitor
from loragraft.experiment.records import Sample
from tests.support.answers import sample

SOUND = [f"It was fish number {n}, caught in basin {n * 7} at noon." for n in range(40)]
LOOP = "The fish is rare. " * 30


def watch(samples: list[Sample], task: TaskKind = "qa", **config: object) -> Degenerate | None:
    monitor = Monitor(MonitorConfig.model_validate(config), task)
    for one in samples:
        monitor.see(one)
    return monitor.finding()


def texts(answers: list[str], **changes: object) -> list[Sample]:
    return [sample(text, f"q{n}", **changes) for n, text in enumerate(answers)]


def numbers(values: list[float]) -> list[Sample]:
    return [sample(str(v), f"q{n}", parsed=v) for n, v in enumerate(values)]


@pytest.mark.parametrize(
    ("answers", "changes", "code"),
    [
        ([" \n"] * 20, {}, "output.empty"),
        (["I'm sorry, but I can't help with that."] * 20, {}, "output.refusal"),
        ([""] * 20, {"status": "refused"}, "output.refusal"),
        ([f"{n} {LOOP}" for n in range(20)], {}, "output.loop"),
        ([f"{n} " + "ab" * 60 for n in range(20)], {}, "output.loop"),
        (SOUND[:20], {"finish": "length"}, "output.endless"),
        (["Minnow."] * 20, {}, "output.constant"),
    ],
)
def test_each_fault_is_found(answers: list[str], changes: dict[str, object], code: str) -> None:
    found = watch(texts(answers, **changes))
    assert found is not None
    assert found.code == code
    assert found.causes
    assert found.next_step
    assert "20 of 20" in found.measured
    assert json.loads(json.dumps(found.to_json()))["code"] == code


def test_sound_answers_pass() -> None:
    assert watch(texts(SOUND)) is None


def test_a_fault_that_few_answers_have_is_none() -> None:
    assert watch(texts([*SOUND[:10], *[""] * 10])) is None
    assert watch(texts([*SOUND[:1], *[""] * 19])) is not None
    assert watch(texts([*SOUND[:10], *[""] * 10]), share=0.4) is not None


def test_nothing_is_said_before_enough_came() -> None:
    assert watch(texts([""] * 19)) is None
    assert watch(texts([""] * 5), after=5) is not None
    assert watch(texts(["Minnow."] * 19), after=5) is None


def test_an_endpoint_that_fails_is_no_fault_of_the_model() -> None:
    assert watch(texts([""] * 30, status="timeout")) is None


def test_one_question_asked_often_may_have_one_answer() -> None:
    assert watch([sample("Minnow.", "q1", repeat=n) for n in range(30)]) is None


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([0.5] * 20, "numbers.distinct"),
        ([0.0, 1.0] * 10, "numbers.distinct"),
        ([0.5 + n / 1000 for n in range(20)], "numbers.spread"),
        ([*[n / 20 for n in range(19)], math.nan], "numbers.nonfinite"),
        ([*[n / 20 for n in range(19)], math.inf], "numbers.nonfinite"),
    ],
)
def test_degenerate_numbers(values: list[float], code: str) -> None:
    found = watch(numbers(values), "score")
    assert found is not None
    assert found.code == code


def test_sound_numbers_pass() -> None:
    assert watch(numbers([n / 20 for n in range(20)]), "score") is None
    assert watch(numbers([0.5] * 19), "score") is None  # too few to say


def test_scores_that_end_by_length_or_are_short_are_no_fault() -> None:
    some = [sample("0", f"q{n}", parsed=n / 20, finish="length") for n in range(20)]
    assert watch(some, "score") is None


def test_answers_without_a_number_are_found() -> None:
    some = texts([f"I like {n} of them" for n in range(20)], status="parse_error")
    found = watch(some, "score")
    assert found is not None
    assert found.code == "output.unparsed"


def test_cosines_may_lie_close_together() -> None:
    assert watch(numbers([0.9 + n / 1000 for n in range(20)]), "embedding") is None


def test_the_distribution_is_told() -> None:
    monitor = Monitor(MonitorConfig(), "score")
    for one in numbers([0.0, 0.5, 1.0]):
        monitor.see(one)
    told = monitor.distribution()
    assert (told.mean, told.min, told.max, told.distinct) == (0.5, 0.0, 1.0, 3)
    assert (told.bins[0], told.bins[5], told.bins[9]) == (1, 1, 1)
