"""What one check of a registration found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "warn", "fail", "skipped"]


@dataclass(frozen=True)
class Check:
    """One check's verdict.

    Attributes:
        name: What was checked.
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

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**vars(self), "details": dict(self.details)}


def first_difference(found: str, expected: str) -> str:
    """Say where two texts part, with some characters of each from there."""
    at = next(
        (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b),
        min(len(found), len(expected)),
    )
    return f"character {at}: {found[at : at + 60]!r} instead of {expected[at : at + 60]!r}"
