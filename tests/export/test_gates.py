"""Gates: their verdicts, and what stops an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.errors import (
    BundleError,
    CheckFailedError,
    CheckpointError,
    NonFiniteError,
    UnavailableError,
)
from loragraft.export.gates import GateResult, failed_by, judge, run_gates


def result(name: str, verdict: str) -> GateResult:
    return GateResult(name, verdict, "this", "that", "Do so.")  # type: ignore[arg-type]


def test_every_gate_runs_and_bad_input_is_that_gates_failure() -> None:
    def broken() -> GateResult:
        raise BundleError("it is broken")

    several = [result("c", "pass"), result("d", "warn")]
    results = run_gates([("a", broken), ("b", lambda: result("b", "pass")), ("c", lambda: several)])
    assert [(r.name, r.verdict) for r in results] == [
        ("a", "fail"), ("b", "pass"), ("c", "pass"), ("d", "warn")]  # fmt: skip
    assert results[0].measured == "it is broken"


def test_a_bug_in_a_gate_is_not_swallowed() -> None:
    def buggy() -> GateResult:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_gates([("a", buggy)])


def test_a_missing_part_is_no_failure_of_the_gate() -> None:
    def without() -> GateResult:
        raise UnavailableError("it is not installed")

    with pytest.raises(UnavailableError, match="not installed"):
        run_gates([("a", without)])


def test_a_gate_that_cannot_be_measured_says_whose_turn_it_is() -> None:
    theirs = failed_by("a", CheckpointError("the base is broken"))
    ours = failed_by("a", NonFiniteError("the file is broken"))
    assert theirs.blocks
    assert ours.blocks
    assert theirs.next_step.startswith("Correct the input")
    assert ours.next_step.startswith("Export again")


def test_a_failed_gate_stops_the_export_and_names_the_way_past() -> None:
    with pytest.raises(CheckFailedError, match=r"(?s)a: found this.*Do so\..*here.*--allow a"):
        judge([result("a", "fail"), result("b", "pass")], (), Path("here"))


def test_an_allowed_failure_passes_and_says_so() -> None:
    judged = judge([result("a", "fail"), result("b", "warn")], {"a"})
    assert [r.verdict for r in judged] == ["allowed", "warn"]
    assert judged[0].to_json()["verdict"] == "allowed"


def test_allowing_a_passing_gate_changes_nothing() -> None:
    assert judge([result("a", "pass")], {"a"})[0].verdict == "pass"
