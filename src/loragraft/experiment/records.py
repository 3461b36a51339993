"""What a run writes: samples (what was asked and answered) and scores (what was measured)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from loragraft.engine.protocol import Finish, Message

SCHEMA_VERSION = 1
MOST_REPEATS = 100
"""Answers to one question."""
UNCOUNTABLE = 2**53
"""Whole numbers of a file are below it: from here on JSON's readers no longer tell them apart."""

Status = Literal["ok", "parse_error", "timeout", "unscorable", "refused", "truncated", "error"]
"""Of a sample or a score. ``ok`` has a value; ``parse_error``: an answer came, and what was asked
for is not in it; ``unscorable``: the metric cannot be had of this record (no gold evidence, no
label); the others are the engine's. Only ``ok`` counts; the rest are counted beside it."""

FAILED: frozenset[Status] = frozenset({"timeout", "refused", "truncated", "error"})
"""Of a sample: there was no answer, and another run may get one."""

NOT_APPLICABLE = "not applicable"
"""A metric of an arm that cannot have it, as grounding without retrieval: never 0."""


@dataclass(frozen=True)
class PassageShown:
    """A passage of a prompt.

    Attributes:
        label: What it is called in prompt and answer: P1.
        chunk_id: In the index.
        doc_id: Its document.
        title: The document's.
        start: Where it begins in the document's text, in characters.
        stop: Where it ends.
        text: As it was shown.
        score: Of the search.
        rank: From 1.
    """

    label: str
    chunk_id: str
    doc_id: str
    title: str
    start: int
    stop: int
    text: str
    score: float
    rank: int


@dataclass(frozen=True)
class Retrieved:
    """A passage found, shown or not."""

    chunk_id: str
    doc_id: str
    start: int
    stop: int
    score: float


@dataclass(frozen=True)
class Sample:
    """One answer to one question.

    Attributes:
        experiment: Its id.
        question_id: The record's.
        repeat: From 0.
        task_type: The record's.
        paper_id: The record's cluster; None for none.
        seed: Of this answer.
        messages: As they were given to the engine.
        status: Whether there is an answer to measure.
        raw: The whole output but for thinking, as it came.
        thinking: What was thought.
        answer: The text that is measured: raw, cleaned.
        parsed: What the task reads from it: a number, for ``score``; None where there is none.
        retrieved: What was found, best first.
        shown: What the prompt held, in its order.
        citations: In the answer: {label, start, stop, known}.
        finish: Why the answer ended; None where there is none.
        error: Why there is none.
        attempts: How often the engine tried.
        prompt_tokens: As the engine counts.
        tokens: Written, thinking included.
        first_seconds: Until the first token.
        seconds: From the first token to the last; see
            :class:`~loragraft.engine.protocol.Reply`.
        cost: US dollars; None where nobody knows.
        extra: What a task adds: probabilities of choices, cosines.
        record: SHA-256 of the record that was asked; the store's own.
        tries: Runs that asked it: a failed one is asked again by the next run, once.
    """

    experiment: str
    question_id: str
    repeat: int
    task_type: str
    paper_id: str | None
    seed: int | None
    messages: tuple[Message, ...]
    status: Status
    raw: str = ""
    thinking: str = ""
    answer: str = ""
    parsed: float | None = None
    retrieved: tuple[Retrieved, ...] = ()
    shown: tuple[PassageShown, ...] = ()
    citations: tuple[Mapping[str, Any], ...] = ()
    finish: Finish | None = None
    error: str = ""
    attempts: int = 1
    prompt_tokens: int | None = None
    tokens: int | None = None
    first_seconds: float | None = None
    seconds: float | None = None
    cost: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    record: str = ""
    tries: int = 1

    @property
    def key(self) -> tuple[str, int]:
        """Question and repeat: what is there once in an experiment."""
        return (self.question_id, self.repeat)


@dataclass(frozen=True)
class Score:
    """One metric of one sample.

    Attributes:
        question_id: The sample's.
        repeat: The sample's.
        metric: Its name, as in docs/metrics.md.
        status: ``ok`` where there is a value.
        value: Finite; None unless ``ok``.
        detail: What it rests on, for people: which sentence, which passage.
    """

    question_id: str
    repeat: int
    metric: str
    status: Status
    value: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
