"""What a diagnosis consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loragraft.adapter.findings import Finding

if TYPE_CHECKING:
    from loragraft.adapter.pairs import PairsReport

Kind = Literal["causal-lm", "sentence-transformer"]
Confidence = Literal["proven", "likely", "possible", "ruled out"]

CONFIDENCE_RULE = (
    "Each hypothesis makes predictions that were measured. Ruled out: a prediction failed. "
    "Proven: all hold, one of them an experiment that no other hypothesis here explains. "
    "Likely: all hold, without such an experiment. Possible: some could not be measured, the "
    "others hold. No probabilities are given, because nothing here measures any."
)
_ORDER: Mapping[Confidence, int] = {"proven": 0, "likely": 1, "possible": 2, "ruled out": 3}


@dataclass(frozen=True)
class Section:
    """One of the five tests.

    Attributes:
        name: Short name (``difference``).
        title: What was tested, as a phrase.
        measurements: What was measured: rows of label and value, as text.
        findings: What is judged of it.
    """

    name: str
    title: str
    measurements: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """Something that must be true if a hypothesis is.

    Attributes:
        yes: What was measured, if it holds.
        no: What was measured, if it does not.
        holds: Whether it does; None if it could not be measured.
        decisive: Whether nothing else here explains it.
    """

    yes: str
    no: str
    holds: bool | None
    decisive: bool = False


@dataclass(frozen=True)
class Hypothesis:
    """A possible cause, with the evidence for and against it.

    Attributes:
        name: Short stable name.
        statement: The cause, as a sentence.
        evidence_for: Predictions that hold, with their figures.
        evidence_against: Predictions that failed.
        not_measured: Predictions that nothing was measured for.
        confidence: See :data:`CONFIDENCE_RULE`.
        fix: What to do, as Python code.
        expectation: What to see after it.
    """

    name: str
    statement: str
    evidence_for: tuple[str, ...]
    evidence_against: tuple[str, ...]
    not_measured: tuple[str, ...]
    confidence: Confidence
    fix: str
    expectation: str


def hypothesis(
    name: str, statement: str, predictions: Sequence[Prediction], fix: str, expectation: str
) -> Hypothesis:
    """Weigh predictions into a hypothesis, by :data:`CONFIDENCE_RULE`."""
    return Hypothesis(
        name,
        statement,
        tuple(p.yes for p in predictions if p.holds is True),
        tuple(p.no for p in predictions if p.holds is False),
        tuple(p.yes for p in predictions if p.holds is None),
        _weigh(predictions),
        fix,
        expectation,
    )


def _weigh(predictions: Sequence[Prediction]) -> Confidence:
    held = [p.holds for p in predictions]
    if False in held:
        return "ruled out"
    if None in held:
        return "possible"
    return "proven" if any(p.decisive for p in predictions) else "likely"


def rank(hypotheses: Sequence[Hypothesis]) -> tuple[Hypothesis, ...]:
    """Order hypotheses by confidence; those alike keep their order."""
    return tuple(sorted(hypotheses, key=lambda item: _ORDER[item.confidence]))


@dataclass(frozen=True)
class Diagnosis:
    """The whole clinical picture.

    Attributes:
        base: The base's folder.
        adapter: The adapter's path.
        kind: What the base is.
        sections: The five tests.
        hypotheses: By confidence.
        pairs: Base and adapted model on labelled pairs, where a file was given.
    """

    base: Path
    adapter: Path
    kind: Kind
    sections: tuple[Section, ...]
    hypotheses: tuple[Hypothesis, ...]
    pairs: PairsReport | None = None

    @property
    def top(self) -> Hypothesis:
        """The hypothesis that the evidence carries best."""
        return self.hypotheses[0]

    @property
    def fix(self) -> str:
        """The recommended fix, as Python code."""
        return self.top.fix

    @property
    def expectation(self) -> str:
        """What to see after the fix."""
        return self.top.expectation

    @property
    def healthy(self) -> bool:
        """Whether the best carried hypothesis is that nothing is wrong."""
        return self.top.name == "sound" and self.top.confidence == "proven"

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON values."""
        return {
            "base": str(self.base),
            "adapter": str(self.adapter),
            "kind": self.kind,
            "healthy": self.healthy,
            "diagnosis": self.top.name,
            "statement": self.top.statement,
            "confidence": self.top.confidence,
            "confidence_rule": CONFIDENCE_RULE,
            "fix": self.fix,
            "expectation": self.expectation,
            "hypotheses": [asdict(item) for item in self.hypotheses],
            "sections": [_section_json(section) for section in self.sections],
            "pairs": None if self.pairs is None else self.pairs.to_json(),
        }


def _section_json(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "measurements": [{"label": label, "value": value} for label, value in section.measurements],
        "findings": [finding.as_dict() for finding in section.findings],
    }
