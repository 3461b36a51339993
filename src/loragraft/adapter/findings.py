"""What a check says: one finding, one failure mode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum

EXAMPLES = 3
"""Names quoted in a finding before the rest is only counted."""


class Severity(str, Enum):
    """How bad it is, from nothing to fatal."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


_ORDER = {Severity.PASS: 0, Severity.WARN: 1, Severity.FAIL: 2}


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        code: Stable dotted name of the failure mode, such as ``values.nonfinite``.
        severity: Pass, warn or fail.
        measured: What was found.
        expected: What a sound adapter shows.
        next_step: What to do about it; empty for a pass.
    """

    code: str
    severity: Severity
    measured: str
    expected: str
    next_step: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the finding as plain strings, for JSON and metadata."""
        return {**asdict(self), "severity": self.severity.value}

    def __str__(self) -> str:
        """Return one readable line."""
        if self.severity is Severity.PASS:
            return f"{self.code}: {self.measured}"
        step = f" {self.next_step}" if self.next_step else ""
        return f"{self.code}: found {self.measured}, expected {self.expected}.{step}"


def passed(code: str, measured: str, expected: str) -> Finding:
    """Return a finding that says all is well."""
    return Finding(code, Severity.PASS, measured, expected)


def warned(code: str, measured: str, expected: str, next_step: str) -> Finding:
    """Return a finding that a person should read."""
    return Finding(code, Severity.WARN, measured, expected, next_step)


def failed(code: str, measured: str, expected: str, next_step: str) -> Finding:
    """Return a finding that keeps a bundle from being published."""
    return Finding(code, Severity.FAIL, measured, expected, next_step)


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity among findings; pass where there are none."""
    return max((f.severity for f in findings), key=_ORDER.__getitem__, default=Severity.PASS)


def quote(names: Sequence[str], limit: int = EXAMPLES) -> str:
    """Quote the first names and count the rest: ``'a', 'b', 'c' and 9 more``."""
    shown = ", ".join(repr(name) for name in names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
