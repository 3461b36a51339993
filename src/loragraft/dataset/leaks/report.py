"""What a search for leaks says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["leak", "gap", "note"]

SAME_ID = "same-id"
EXACT = "exact"
NORMALISED = "normalised"
NEAR = "near"
ANSWER = "answer-in-question"
TRAINING_TEXT = "test-question-in-training-text"
CORPUS = "test-question-in-corpus"
EVIDENCE_TEXT = "test-evidence-in-training-text"
EVIDENCE_CORPUS = "evidence-in-corpus"
EVIDENCE_SHARED = "evidence-shared"

KINDS: Mapping[str, str] = {
    SAME_ID: "the same id in two splits",
    EXACT: "the same question, letter by letter",
    NORMALISED: "the same question but for case, punctuation and spelling of characters",
    NEAR: "the same question in nearly the same words, or in others",
    ANSWER: "the answer stands in a question of another split, about the same",
    TRAINING_TEXT: "the question stands inside a text that is trained on",
    CORPUS: "the question stands in a document of the corpus",
    EVIDENCE_TEXT: "the passage that holds the answer stands in a text that is trained on",
    EVIDENCE_CORPUS: "the passage that holds the answer, and the corpus",
    EVIDENCE_SHARED: "a passage that questions of two splits rest on",
}
"""What is looked for, in the order of a report."""

NEXT_STEPS: Mapping[str, str] = {
    SAME_ID: "Give each record an id of its own, or take the copy out; then split again.",
    EXACT: "Take one of the two out: dataset curate with the rule exact_duplicates; split again. "
    "Of many replies to one post, give the post as paper_id and split with --group-by paper_id.",
    NORMALISED: "Take one of the two out: dataset curate with the rule exact_duplicates; split "
    "again.",
    NEAR: "Take one of the two out: dataset curate with the rules near_duplicates and "
    "semantic_duplicates; split again.",
    ANSWER: "Reword one of the two questions, or take it out; split again.",
    TRAINING_TEXT: "Train without the text, or test without the question.",
    CORPUS: "Take the document out of the corpus, or the question out of the test.",
    EVIDENCE_TEXT: "Train without the text, or do not call the test closed-book.",
    EVIDENCE_CORPUS: "A corpus for retrieval must hold the documents that the evidence names; one "
    "that is trained on must not.",
}
"""What to do about a leak or a gap of a kind."""

SEVERITIES: Mapping[str, str] = {
    "leak": "what is tested was seen",
    "gap": "what is tested cannot be found",
    "note": "worth knowing, no leak",
}
FAILING: frozenset[str] = frozenset({"leak", "gap"})


@dataclass(frozen=True)
class Place:
    """One side of a leak.

    Attributes:
        where: The split, or "corpus", or the file of a training text.
        id: Of the record or document; where in a file.
        text: What stands there, cut where it is long.
    """

    where: str
    id: str
    text: str


@dataclass(frozen=True)
class Leak:
    """Something that one side gives away of the other.

    Attributes:
        kind: One of :data:`KINDS`.
        severity: One of :data:`SEVERITIES`.
        first: The record that is no longer a fair test.
        second: What gives it away.
        score: How much alike they are, at most 1.
        why: In words.
    """

    kind: str
    severity: Severity
    first: Place
    second: Place
    score: float
    why: str


@dataclass(frozen=True)
class Count:
    """How many records one kind of finding is about.

    Attributes:
        kind: One of :data:`KINDS`.
        severity: One of :data:`SEVERITIES`.
        found: Findings, listed or not.
        records: How many records of each split are no fair test for it.
    """

    kind: str
    severity: Severity
    found: int
    records: Mapping[str, int]


@dataclass(frozen=True)
class LeakReport:
    """What was found.

    Attributes:
        records: How many each split has.
        near: From which similarity on two questions are one.
        embedder: What judged meaning; None where only words were compared.
        counts: For each kind and severity that was found, all findings.
        leaks: The findings, up to a number of each kind; worst first.
        unchecked: What was not looked at, and why, as sentences.
        evidence: How many passages the corpus was asked for, and how many it has.
    """

    records: Mapping[str, int]
    near: float
    embedder: str | None
    counts: tuple[Count, ...]
    leaks: tuple[Leak, ...]
    unchecked: tuple[str, ...] = ()
    evidence: Mapping[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing was found but notes."""
        return not self.failing

    @property
    def failing(self) -> int:
        """How many findings are leaks or gaps."""
        return sum(count.found for count in self.counts if count.severity in FAILING)

    @property
    def verdict(self) -> str:
        """Return one sentence."""
        if self.clean:
            return "No leaks were found."
        said = []
        for severity, word in (("leak", "Leaks"), ("gap", "Gaps")):
            found = [f"{c.found:,} {c.kind}" for c in self.counts if c.severity == severity]
            said += [f"{word}: {', '.join(found)}."] if found else []
        return " ".join(said)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {"clean": self.clean, "verdict": self.verdict, **asdict(self)}
