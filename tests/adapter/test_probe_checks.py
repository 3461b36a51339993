"""Each check of a probe: a broken set of answers that it catches, and a healthy one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from loragraft.adapter import probe_checks
from loragraft.adapter.findings import Finding, Severity
from loragraft.adapter.probe_checks import (
    PROBE_CHECKS,
    Answer,
    ProbeContext,
    Sample,
    is_loop,
    run_probe_checks,
)
from loragraft.adapter.probe_prompts import ProbePrompt, Task, default_prompts
from loragraft.adapter.scores import parse_score

HEALTHY_SCORES = ("0.95", "0.05", "0.9", "0.1", "0.4")


def sample(
    number: int,
    tuned: Answer,
    base: Answer | None = None,
    effect: float = 0.5,
    noise: float = 0.0,
    finite: bool = True,
    expected: str | None = None,
) -> Sample:
    prompt = ProbePrompt(({"role": "user", "content": "?"},), expected, id=f"p{number}")
    other = base or Answer(f"the base's {number}", (1, 2, 3))
    return Sample(prompt, other, tuned, effect, noise, finite)


def texts(words: Sequence[str], task: Task = "generation", **options: object) -> ProbeContext:
    answers = [
        Answer(word, (1, 2), score=parse_score(word) if task == "score" else None) for word in words
    ]
    return ProbeContext(
        task,
        [sample(n, answer, **options) for n, answer in enumerate(answers)],  # type: ignore[arg-type]
    )


def found(context: ProbeContext) -> dict[str, Finding]:
    return {finding.code: finding for finding in run_probe_checks(context)}


@pytest.mark.parametrize(
    "context", [texts(["a", "b", "c"], expected=""), texts(HEALTHY_SCORES, "score")]
)
def test_healthy_answers_pass_every_check(context: ProbeContext) -> None:
    findings = found(context)
    assert [str(f) for f in findings.values() if f.severity is not Severity.PASS] == []


LOOP = Answer("la la la", (7, 8) * 10, ended=False)

BROKEN: dict[str, tuple[str, ProbeContext]] = {
    "keys missing": ("probe.keys", ProbeContext("generation", [], missing=["a"])),
    "keys ignored": ("probe.keys", ProbeContext("generation", [], unexpected=["a"])),
    "no effect": ("probe.effect", texts(["a", "b"], effect=0.0)),
    "effect of noise": ("probe.effect", texts(["a", "b"], effect=1e-3, noise=1e-3)),
    "not finite": ("probe.finite", texts(["a", "b"], finite=False)),
    "empty": ("probe.empty", texts(["a", " "])),
    "loop": ("probe.loop", ProbeContext("generation", [sample(0, LOOP)])),
    "all alike": ("probe.alike", texts(["x", "x ", "x"])),
    "nothing parsed": ("probe.parse", texts(["yes", "no", "0.4"], "score")),
    "all zero": ("probe.std", texts(["0.0"] * 5, "score")),
    "all zero, highest": ("probe.highest", texts(["0.0"] * 5, "score")),
    "all one, lowest": ("probe.lowest", texts(["1"] * 5, "score")),
    "narrow": ("probe.std", texts(["0.50", "0.52", "0.51", "0.5"], "score")),
    "never high": ("probe.highest", texts(["0", "0.1", "0.3"], "score")),
    "never low": ("probe.lowest", texts(["0.7", "0.9", "1"], "score")),
    "yes or no": ("probe.distinct", texts(["0", "1", "0", "1", "1"], "score")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_failure_is_caught(name: str) -> None:
    code, context = BROKEN[name]
    finding = found(context)[code]
    assert finding.severity is Severity.FAIL
    assert finding.measured
    assert finding.expected
    assert finding.next_step


def test_all_parsed_does_not_hide_a_collapse() -> None:
    findings = found(texts(["0.0"] * 5, "score"))
    assert findings["probe.parse"].severity is Severity.PASS
    assert findings["probe.distinct"].severity is Severity.FAIL


@pytest.mark.parametrize(
    ("code", "context"),
    [
        ("probe.mean", texts(["0.9", "0.95", "1", "0.6"], "score")),
        ("probe.mean", texts(["0", "0.1", "0.05", "0.4"], "score")),
        ("probe.parse", texts([*HEALTHY_SCORES, "maybe"], "score")),
        ("probe.scores", texts(["0.1", "no"], "score")),
        ("probe.outputs", texts(["same"], base=Answer("same"))),
        ("probe.expected", texts(["a"], expected="b")),
        ("probe.empty", texts([" "], base=Answer(""))),
        ("probe.loop", ProbeContext("generation", [sample(0, LOOP, LOOP)])),
        ("probe.alike", texts(["x"] * 3, base=Answer("y"))),
    ],
)
def test_what_need_not_be_the_adapters_fault_warns(code: str, context: ProbeContext) -> None:
    assert found(context)[code].severity is Severity.WARN


@pytest.mark.parametrize(
    ("tokens", "ended", "loops"),
    [
        ((5,) * 12, False, True),
        ((1, 2, 3) * 4, False, True),
        ((9, 9, 4, 6, 7, 3, *((1, 2, 3) * 4)), False, True),
        ((5,) * 12, True, False),
        ((5,) * 11, False, False),
        (tuple(range(40)), False, False),
        ((*range(30), 1, 1, 1, 1), False, False),  # a refrain at the end of a long answer
    ],
)
def test_loops_are_told_from_refrains(tokens: tuple[int, ...], ended: bool, loops: bool) -> None:
    assert is_loop(Answer("", tokens, ended)) is loops


def test_every_check_is_listed() -> None:
    named = {value for name, value in vars(probe_checks).items() if name.startswith("check_")}
    assert named == set(PROBE_CHECKS)


@pytest.mark.parametrize("task", ["generation", "score"])
def test_packaged_prompts_are_three_to_five_with_reasons(task: Task) -> None:
    prompts = default_prompts(task)
    assert 3 <= len(prompts) <= 5
    assert all(prompt.reason and prompt.id and prompt.text for prompt in prompts)
    assert len({prompt.id for prompt in prompts}) == len(prompts)


def test_expected_scores_of_the_packaged_prompts_are_balanced() -> None:
    labels = [float(p.expected) for p in default_prompts("score") if p.expected is not None]
    assert sum(labels) / len(labels) == 0.5
