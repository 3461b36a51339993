"""Questions to a judge, asked until each has a verdict or is missing.

A malformed output is shown to the judge once more with what is wrong with it. What is malformed
then too has no verdict: it is missing, and never counts for or against anybody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from loragraft.engine.batch.protocol import Answer, BatchEngine, Job
from loragraft.engine.protocol import Message, Sampling
from loragraft.experiment.judge.verdict import Choices, Malformed, Verdict, parse_verdict
from loragraft.rag.answering.neutralise import neutralise

VerdictStatus = Literal["ok", "parse_error", "timeout", "truncated", "refused", "error"]
"""Of a verdict: ``parse_error`` where an output came and has none; the others are the engine's."""

DEFAULT_TOKENS = 512
DEFAULT_RETRIES = 1
LONGEST_SHOWN = 2000
"""Characters of a malformed output that its judge is shown, and that are kept of it."""


@dataclass(frozen=True)
class Settings:
    """How a judge is asked.

    Attributes:
        max_tokens: Of reasons and verdict together.
        retries: How often a malformed verdict is asked for again.
        seed: Of its tokens; it takes the likeliest ones, and some servers want one all the same.
    """

    max_tokens: int = DEFAULT_TOKENS
    retries: int = DEFAULT_RETRIES
    seed: int = 0


@dataclass(frozen=True)
class Ask:
    """One question to a judge.

    Attributes:
        id: Unique in one call.
        prompt: The user's turn.
        choices: What the verdict may be.
    """

    id: str
    prompt: str
    choices: Choices

    @property
    def content(self) -> str:
        """What stands for all that is asked: 32 hexadecimal digits."""
        told = json.dumps([self.prompt, self.choices.schema()]).encode("ascii")
        return hashlib.sha256(told).hexdigest()[:32]


@dataclass(frozen=True)
class Asked:
    """What became of a question.

    Attributes:
        id: The question's.
        status: Whether there is a verdict.
        word: The verdict; None unless the status is ``ok``.
        reasons: Why.
        error: Why there is none.
        raw: The last output where it is malformed.
        attempts: How often the judge was asked.
        prompt_tokens: Read for it.
        tokens: Written.
        cost: US dollars; None where nobody knows.
    """

    id: str
    status: VerdictStatus
    word: str | None = None
    reasons: str = ""
    error: str = ""
    raw: str = ""
    attempts: int = 1
    prompt_tokens: int = 0
    tokens: int = 0
    cost: float | None = None


def ask_judge(
    engine: BatchEngine, asks: Sequence[Ask], settings: Settings | None = None
) -> Generator[Asked, None, None]:
    """Yield what became of each question as it is known, each exactly once, in any order.

    Args:
        engine: Who judges.
        asks: The questions, each with an id of its own.
        settings: How they are asked.

    Raises:
        LoragraftError: If the engine can answer nothing at all.
    """
    settings = settings or Settings()
    waiting = {ask.id: _Waiting(ask, [{"role": "user", "content": ask.prompt}]) for ask in asks}
    if len(waiting) != len(asks):
        raise ValueError("two questions to a judge have the same id")
    for left in range(settings.retries, -1, -1):
        if not waiting:
            return
        again: dict[str, _Waiting] = {}
        with closing(_answers(engine, waiting, settings)) as answers:
            for one, answer in answers:
                found = one.take(answer, last=left == 0)
                if found is None:
                    again[one.ask.id] = one
                else:
                    yield found
        waiting = again


def _answers(
    engine: BatchEngine, waiting: dict[str, _Waiting], settings: Settings
) -> Generator[tuple[_Waiting, Answer], None, None]:
    """Yield an answer for each one that waits, whatever the engine yields."""
    sampling = Sampling(temperature=0.0, max_tokens=settings.max_tokens, seed=settings.seed)
    jobs = [
        Job(name, tuple(one.messages), sampling, think=False, schema=one.ask.choices.schema())
        for name, one in waiting.items()
    ]
    left = dict(waiting)
    answers = engine.answers(jobs)
    try:
        for answer in answers:
            if (one := left.pop(answer.id, None)) is not None:
                yield one, answer
    finally:
        if close := getattr(answers, "close", None):
            close()
    for name, one in left.items():
        yield one, Answer(name, "error", None, "The engine gave no answer.")


class _Waiting:
    """A question without a verdict so far."""

    def __init__(self, ask: Ask, messages: list[Message]) -> None:
        self.ask, self.messages = ask, messages
        self._spent: dict[str, Any] = {"attempts": 0, "prompt_tokens": 0, "tokens": 0, "cost": None}

    def take(self, answer: Answer, *, last: bool) -> Asked | None:
        """Return what became of it; None where it is to be asked again."""
        self._add(answer)
        if answer.status != "ok" or answer.reply is None:
            status = "error" if answer.status == "ok" else answer.status
            return Asked(self.ask.id, status, error=answer.error[:LONGEST_SHOWN], **self._spent)
        output = answer.reply.text
        try:
            verdict = parse_verdict(output, self.ask.choices)
        except Malformed as error:
            problem = _cut_short(answer, str(error))
            if not last:
                self._ask_again(output, problem)
                return None
            raw = output[:LONGEST_SHOWN]
            return Asked(self.ask.id, "parse_error", error=problem, raw=raw, **self._spent)
        return self._judged(verdict)

    def _judged(self, verdict: Verdict) -> Asked:
        return Asked(self.ask.id, "ok", verdict.word, verdict.reasons, **self._spent)

    def _add(self, answer: Answer) -> None:
        spent = self._spent
        spent["attempts"] += max(answer.attempts, 1)
        if answer.cost is not None:
            spent["cost"] = (spent["cost"] or 0.0) + answer.cost
        if answer.reply is not None:
            spent["prompt_tokens"] += answer.reply.prompt_tokens
            spent["tokens"] += answer.reply.tokens

    def _ask_again(self, output: str, problem: str) -> None:
        said = neutralise(output[:LONGEST_SHOWN]).strip() or "(nothing)"
        words = " or ".join(f'"{word}"' for word in self.ask.choices.words)
        self.messages = [
            *self.messages[:1],
            {"role": "assistant", "content": said},
            {"role": "user", "content": f"That is no verdict: {problem}. Write one JSON object and "
             'nothing else: first "reasons", in one or two sentences of your own, then "verdict", '
             f"which is {words}."},
        ]  # fmt: skip


def _cut_short(answer: Answer, problem: str) -> str:
    """Say also that an output was cut, where it was."""
    if answer.reply is not None and answer.reply.finish in ("length", "context"):
        return f"{problem}; it was cut off after {answer.reply.tokens} tokens: be short"
    return problem
