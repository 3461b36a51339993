"""What the judge says of behaviour alone: where nothing but the chances can be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from loragraft.export.request import ExportRequest
from loragraft.trace.cause import Cause, Subject
from loragraft.trace.judging import Judge, Seen
from loragraft.trace.observation import LogProbs, Observation
from loragraft.trace.reference import Paper, Reference
from loragraft.trace.report import StageReport

REFERENCE = Reference(ExportRequest(Path("b"), (), Path(), "t"), None, Paper(), False)
VOCABULARY = 16


def chances(shift: int) -> LogProbs:
    """Distributions that are sure of one token each."""
    logits = np.zeros((12, VOCABULARY), np.float32)
    logits[np.arange(12), (np.arange(12) + shift) % VOCABULARY] = 8.0
    normal: LogProbs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return normal


def observe(shift: int = 0, text: str = "a") -> Observation:
    return Observation((text,), ((1, 2),), frozenset({2}), (chances(shift),))


def judge(*stages: Observation, causes: tuple[Cause, ...] = ()) -> list[StageReport]:
    """Take the training's side and the stages after it."""
    found = Judge(["one"])
    for number, seen in enumerate(stages):
        subject = Subject(f"stage {number}", Paper(), seen, stages[0], REFERENCE, "make it")
        found.take(
            Seen(str(number), subject, {"Q4_K": 1}, causes=causes if number == 1 else ()),
            trained=number == 0,
        )
    return found.stages


def test_chances_that_nothing_explains_are_unknown() -> None:
    first, second = judge(observe(), observe(1))
    assert not first.causes
    assert [cause.code for cause in second.causes] == ["unknown"]
    assert "distribution differs, cause unknown" in second.causes[0].cause
    assert second.cells["distribution"].verdict == "parts"


def test_a_fault_is_charged_once() -> None:
    _, second, third = judge(observe(), observe(1, "b"), observe(1, "b"))
    assert {cause.aspect for cause in second.causes} == {"text", "distribution"}
    assert not third.causes
    assert third.cells["text"].verdict == third.cells["distribution"].verdict == "as before"


def test_a_stage_that_is_right_again_is_not_blamed() -> None:
    _, second, third = judge(observe(), observe(1, "b"), observe())
    assert second.causes
    assert not third.causes
    assert {cell.verdict for cell in third.cells.values()} == {"same"}


def test_a_known_cause_explains_its_aspect() -> None:
    known = Cause("wrong_base", "distribution", "another base", "evidence", "fix")
    _, second = judge(observe(), observe(1), causes=(known,))
    assert second.causes == (known,)
