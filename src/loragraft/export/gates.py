"""Gates: what is checked of an export, and with which verdict.

A failed gate keeps a bundle from being published unless its name is allowed explicitly; then its
verdict is "allowed", and that stands in the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from loragraft.errors import CheckFailedError, CheckpointError, InputError

Verdict = Literal["pass", "warn", "fail", "skipped", "allowed"]


@dataclass(frozen=True)
class GateResult:
    """What one gate measured.

    Attributes:
        name: The gate's name, as ``--allow`` takes it.
        verdict: Whether it holds.
        measured: What was found, in words.
        expected: What should have been found, in words.
        next_step: What to do; empty where nothing is to be done.
        details: Figures for the metadata.
    """

    name: str
    verdict: Verdict
    measured: str
    expected: str
    next_step: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> bool:
        """Whether this result keeps a bundle from being published."""
        return self.verdict == "fail"

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "measured": self.measured,
            "expected": self.expected,
            "next_step": self.next_step,
            "details": dict(self.details),
        }


Gate = Callable[[], "GateResult | Sequence[GateResult]"]


def run_gates(
    gates: Iterable[tuple[str, Gate]], allow: Collection[str] = ()
) -> tuple[GateResult, ...]:
    """Run gates in order; none is skipped because an earlier one failed.

    Args:
        gates: Name and function of each; a function may return several results.
        allow: Names whose failure is accepted.

    Returns:
        Every result. Bad input that a gate met is that gate's failure; bugs pass through.
    """
    results: list[GateResult] = []
    for name, gate in gates:
        try:
            found = gate()
        except (InputError, CheckFailedError) as error:
            found = failed_by(name, error)
        results += [found] if isinstance(found, GateResult) else found
    return tuple(allow_failures(results, allow))


def failed_by(name: str, error: Exception) -> GateResult:
    """Return the failure of a gate that could not even be measured."""
    step = "Correct the input and export again."
    if not isinstance(error, CheckpointError):
        step = "Export again; if it stays, report it with this message."
    return GateResult(name, "fail", str(error), "the gate can be measured", step)


def allow_failures(results: Iterable[GateResult], allow: Collection[str]) -> list[GateResult]:
    """Turn failures whose names are allowed into the verdict "allowed"."""
    return [
        replace(result, verdict="allowed") if result.blocks and result.name in allow else result
        for result in results
    ]


def judge(
    results: Iterable[GateResult], allow: Collection[str] = (), staging: Path | None = None
) -> list[GateResult]:
    """Let ``--allow`` pass failed gates, and stop at any other failure.

    Args:
        results: What was measured so far.
        allow: Names whose failure is accepted.
        staging: Where the unpublished files are, for the message.

    Returns:
        The results, with "allowed" for the failures that are.

    Raises:
        CheckFailedError: Naming each failed gate, what it measured and what to do.
    """
    judged = allow_failures(results, allow)
    failed = [result for result in judged if result.blocks]
    if not failed:
        return judged
    lines = [
        f"  {result.name}: found {result.measured}; expected {result.expected}. {result.next_step}"
        for result in failed
    ]
    names = " ".join(f"--allow {name}" for name in dict.fromkeys(r.name for r in failed))
    where = f"The unpublished files, if any, are in {staging}. " if staging is not None else ""
    raise CheckFailedError(
        f"{len(failed)} gate(s) failed, so nothing is published:\n"
        + "\n".join(lines)
        + f"\n{where}To publish in spite of it, run the same command with {names}; "
        "the metadata will say so."
    )
