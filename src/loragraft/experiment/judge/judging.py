"""A judge asked about single answers: is a claim supported, is an answer correct."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from loragraft.artifact.closing import Closing
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.experiment.judge.asking import Ask, Asked, Settings, ask_judge
from loragraft.experiment.judge.book import VerdictBook
from loragraft.experiment.judge.prompt import (
    PROMPT_VERSION,
    Material,
    correct_prompt,
    support_prompt,
)
from loragraft.experiment.judge.verdict import CORRECT, SUPPORT
from loragraft.experiment.metrics.grounding.support import Claim, Judgement


def ask_all(
    engine: BatchEngine,
    asks: Sequence[Ask],
    settings: Settings | None = None,
    book: VerdictBook | None = None,
) -> list[Asked]:
    """Return what became of questions, in their order; the same question is asked once.

    Args:
        engine: Who judges.
        asks: The questions; their ids mean nothing.
        settings: How they are asked.
        book: Where verdicts are kept; what it knows is not asked again.

    Raises:
        LoragraftError: If the engine can answer nothing at all; what it said is kept.
    """
    found: dict[str, Asked] = {}
    wanted: dict[str, Ask] = {}
    for ask in asks:
        known = None if book is None else book.get(ask.content)
        if known is not None:
            found[ask.content] = known
        else:
            wanted[ask.content] = Ask(ask.content, ask.prompt, ask.choices)
    if book is not None and wanted:
        book.bind(engine.identity())
    with closing(ask_judge(engine, list(wanted.values()), settings)) as answers:
        for one in answers:
            found[one.id] = one
            if book is not None:
                book.keep(one.id, one)
    return [found[ask.content] for ask in asks]


class JudgeSupport(Closing):
    """Decides by a judge whether passages support claims: a ``Support`` of the grounding room."""

    name = "judge"

    def __init__(
        self,
        engine: BatchEngine,
        settings: Settings | None = None,
        book: VerdictBook | None = None,
    ) -> None:
        """Take an engine, which stays open; what the book knows is not asked again."""
        self._engine, self._settings, self._book = engine, settings or Settings(), book

    def identity(self) -> dict[str, Any]:
        """Return what decides a judgement beside claim and passage."""
        return judging_identity(self._engine, self._settings)

    def supported(self, claims: Sequence[Claim]) -> list[Judgement]:
        """Judge claims; one without a verdict is missing, a blank one is not supported.

        Raises:
            LoragraftError: If the judge can answer nothing at all.
        """
        asks = [
            Ask("", support_prompt(sentence, passage), SUPPORT)
            for sentence, passage in claims
            if sentence.strip() and passage.strip()
        ]
        said = iter(ask_all(self._engine, asks, self._settings, self._book))
        blank = Judgement(False, "there is nothing to support it")
        return [
            _judgement(next(said)) if sentence.strip() and passage.strip() else blank
            for sentence, passage in claims
        ]

    def close(self) -> None:
        """Do nothing: engine and book belong to the caller."""


def judging_identity(engine: BatchEngine, settings: Settings) -> dict[str, Any]:
    """Return what decides a judge's verdicts beside what it is asked, as JSON values."""
    return {
        "judge": engine.identity(),
        "prompt_version": PROMPT_VERSION,
        "settings": asdict(settings),
    }


def _judgement(asked: Asked) -> Judgement:
    if asked.word is None:
        return Judgement(None, _one_line(f"no verdict ({asked.status}): {asked.error}"))
    return Judgement(asked.word == "supported", _one_line(asked.reasons))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


@dataclass(frozen=True)
class Correctness:
    """What a judge says of an answer.

    Attributes:
        correct: Whether it is; None without a verdict: missing, never wrong.
        reason: Why, on one line.
        status: Of the verdict.
    """

    correct: bool | None
    reason: str
    status: str


def judge_correct(
    engine: BatchEngine,
    answers: Sequence[tuple[Material, str]],
    settings: Settings | None = None,
    book: VerdictBook | None = None,
) -> list[Correctness]:
    """Judge whether answers are correct, in their order; a blank answer is not.

    Args:
        engine: Who judges.
        answers: What each is judged by, and the answer without its citations.
        settings: How the judge is asked.
        book: Where verdicts are kept; what it knows is not asked again.

    Raises:
        LoragraftError: If the engine can answer nothing at all.
    """
    asks = [Ask("", correct_prompt(one, text), CORRECT) for one, text in answers if text.strip()]
    said = iter(ask_all(engine, asks, settings, book))
    blank = Correctness(False, "nothing was answered", "ok")
    return [_correctness(next(said)) if text.strip() else blank for _, text in answers]


def _correctness(asked: Asked) -> Correctness:
    if asked.word is None:
        reason = _one_line(f"no verdict ({asked.status}): {asked.error}")
        return Correctness(None, reason, asked.status)
    return Correctness(asked.word == "correct", _one_line(asked.reasons), "ok")
