"""A diagnosis as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from loragraft.adapter.diagnose.report import CONFIDENCE_RULE, Diagnosis, Hypothesis
from loragraft.adapter.findings import Severity

_MARKS = {Severity.PASS: "pass", Severity.WARN: "WARN", Severity.FAIL: "FAIL"}


def render_text(diagnosis: Diagnosis) -> str:
    """Return the whole picture as text: the diagnosis first, then what it rests on."""
    return "\n".join(_lines(diagnosis)) + "\n"


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    top = diagnosis.top
    yield f"Diagnosis: {top.name} ({top.confidence})"
    yield f"  {top.statement}"
    yield f"  Base: {diagnosis.base} ({diagnosis.kind})"
    yield f"  Adapter: {diagnosis.adapter}"
    for number, section in enumerate(diagnosis.sections, start=1):
        yield ""
        yield f"{number}. {section.title}"
        for label, value in section.measurements:
            yield f"   {label}: {value}"
        for finding in section.findings:
            yield f"   [{_MARKS[finding.severity]}] {finding}"
    if diagnosis.pairs is not None:
        yield ""
        yield from diagnosis.pairs.lines()
    yield ""
    yield "Hypotheses"
    for item in diagnosis.hypotheses:
        yield from _hypothesis(item)
    yield f"   ({CONFIDENCE_RULE})"
    yield ""
    yield "Recommended fix"
    yield from (f"    {line}" if line else "" for line in diagnosis.fix.rstrip().split("\n"))
    yield ""
    yield f"What to expect: {diagnosis.expectation}"


def _hypothesis(item: Hypothesis) -> Iterator[str]:
    yield f"   {item.confidence}: {item.name}. {item.statement}"
    for label, evidence in (
        ("for", item.evidence_for), ("against", item.evidence_against),
        ("not measured", item.not_measured),
    ):  # fmt: skip
        for text in evidence:
            yield f"      {label}: {text}"
