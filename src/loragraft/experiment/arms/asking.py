"""What all arms have in common that ask a language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from loragraft.dataset.records import TaskRecord, kind_of
from loragraft.engine.batch.protocol import Answer, BatchEngine, Job
from loragraft.engine.protocol import ChatEngine, Message, Reply, Sampling
from loragraft.errors import InputError
from loragraft.experiment.arms.protocol import Asked, Question
from loragraft.experiment.config import SamplingConfig, TaskKind
from loragraft.experiment.records import Sample
from loragraft.rag.answering.counting import TokenCounter

ROUND = 256
"""A context is a multiple of it: a few tokens more or less leave a run's key as it was."""
LONGEST_ANSWER = 50_000
"""Characters of an answer that are measured, some 12,000 tokens: a server that does not keep to
max_tokens costs no more than them."""
ENDLESS = 1 << 30
"""Tokens of a context that nobody knows yet."""


class Unopened:
    """Stands for an engine before it is opened: tokens are estimated, and everything has room."""

    name = "the model"
    context = ENDLESS


class AskingArm(ABC):
    """An arm whose questions an engine answers."""

    asks = True
    parts: tuple[str, ...] = ()
    task: TaskKind

    def __init__(self, name: str, sampling: SamplingConfig) -> None:
        """Name the experiment and how its answers are written."""
        self.name, self.sampling = name, sampling

    @property
    def repeats(self) -> int:
        """Answers to each question."""
        return self.sampling.repeats

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what decides a sample; see :class:`~.protocol.Arm`."""

    @abstractmethod
    def compose(self, record: TaskRecord, engine: BatchEngine | None) -> Question:
        """Make a question of a record of the right kind."""

    def read(self, asked: Asked, reply: Reply) -> Sample:
        """Make a sample of an answer."""
        return self.sample(
            asked,
            raw=reply.text,
            answer=measured_text(reply),
            thinking=reply.thinking,
            **measured(reply),
        )

    def prepare(self, record: TaskRecord, engine: BatchEngine | None) -> Question:
        """Make a question of a record; see :class:`~.protocol.Arm`."""
        check_kind(self.name, self.task, record)
        return self.compose(record, engine)

    def context_needed(self, records: Sequence[TaskRecord]) -> int | None:
        """Return tokens that the longest question and its answer may need."""
        longest = 0
        for record in records:
            question = self.prepare(record, None)
            longest = max(longest, question.tokens + question.max_tokens)
        return -(-longest // ROUND) * ROUND or None

    def samples(self, asked: Sequence[Asked], engine: BatchEngine | None) -> Iterator[Sample]:
        """Yield one sample of each, as it is ready."""
        yield from faults(self.name, asked)
        able = [one for one in asked if not one.question.fault]
        if able:
            yield from self.answered(able, opened(self.name, engine))

    def answered(self, asked: Sequence[Asked], engine: BatchEngine) -> Iterator[Sample]:
        """Yield the samples of questions that can be asked."""
        jobs = [self._job(number, one) for number, one in enumerate(asked)]
        for answer in engine.answers(jobs):
            yield self._read(asked[int(answer.id)], answer)

    def sample(self, asked: Asked, **values: Any) -> Sample:  # noqa: ANN401
        """Return a sample of a question; what is not said is as usual."""
        return sample_of(self.name, asked, **values)

    def count(self, messages: Sequence[Message], engine: BatchEngine | None) -> int:
        """Return the tokens of a conversation: counted, or an estimate above."""
        return TokenCounter(chatting(engine)).count(messages, think=self.sampling.think)

    def fault_of(self, tokens: int, engine: BatchEngine | None) -> str:
        """Say that a prompt of so many tokens has no room; nothing where it has, or may have."""
        if engine is None or not hasattr(engine, "prompt_ids") or tokens < engine.context:
            return ""
        return (
            f"The prompt has {tokens} tokens, and {engine.name} a context of {engine.context}. "
            "Give the engine a larger context, or leave the record out."
        )

    def close(self) -> None:  # noqa: B027 - most arms hold nothing
        """Free what is held and not shared."""

    def _job(self, number: int, asked: Asked) -> Job:
        sampling = sampling_of(self.sampling, asked)
        return Job(str(number), asked.question.messages, sampling, self.sampling.think)

    def _read(self, asked: Asked, answer: Answer) -> Sample:
        if answer.status != "ok" or answer.reply is None:
            why = answer.error or f"{self.name} gave no answer and no reason."
            status = "error" if answer.status == "ok" else answer.status
            return self.sample(
                asked, status=status, error=why, attempts=answer.attempts, cost=answer.cost
            )
        sample = self.read(asked, answer.reply)
        return replace(sample, attempts=answer.attempts, cost=answer.cost)


def chatting(engine: BatchEngine | None) -> ChatEngine:
    """Return an engine as those parts know it that only look at its name, context and tokens."""
    return cast("ChatEngine", Unopened() if engine is None else engine)


def opened(name: str, engine: BatchEngine | None) -> BatchEngine:
    """Return an engine that must be there.

    Raises:
        InputError: If it is not.
    """
    if engine is None:
        raise InputError(f"{name} asks a model, and was given none. Open its engine first.")
    return engine


def check_kind(name: str, task: TaskKind, record: TaskRecord) -> None:
    """Refuse a record of another kind.

    Raises:
        InputError: Naming both.
    """
    found = kind_of(record)
    if found != task:
        raise InputError(
            f"The record {record.id!r} is of the kind {found}, and {name} takes {task}. Set the "
            f"experiment's task to {found}, or choose records of the kind {task}."
        )


def sampling_of(config: SamplingConfig, asked: Asked) -> Sampling:
    """Return how an answer's tokens are chosen."""
    return Sampling(
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        min_p=config.min_p,
        repeat_penalty=config.repeat_penalty,
        seed=asked.seed,
        max_tokens=asked.question.max_tokens,
        stop=config.stop,
    )


def measured_text(reply: Reply) -> str:
    """Return what is measured of an answer."""
    return reply.text.strip()[:LONGEST_ANSWER]


def measured(reply: Reply) -> dict[str, Any]:
    """Return what a sample records of an answer beside its text."""
    return {
        "finish": reply.finish,
        "prompt_tokens": reply.prompt_tokens,
        "tokens": reply.tokens,
        "first_seconds": reply.prompt_seconds,
        "seconds": reply.seconds,
    }


def sample_of(name: str, asked: Asked, **values: Any) -> Sample:  # noqa: ANN401
    """Return a sample of a question; what is not said is as usual."""
    question = asked.question
    extra: Mapping[str, Any] = {**question.extra, **values.pop("extra", {})}
    usual: dict[str, Any] = {
        "experiment": name,
        "question_id": question.record.id,
        "repeat": asked.repeat,
        "task_type": question.record.task_type,
        "paper_id": question.record.paper_id,
        "seed": asked.seed,
        "messages": question.messages,
        "status": "ok",
        "retrieved": question.retrieved,
        "shown": question.shown,
        "extra": extra,
    }
    return Sample(**{**usual, **values})


def faults(name: str, asked: Sequence[Asked]) -> Iterator[Sample]:
    """Yield the samples of questions that cannot be asked."""
    for one in asked:
        if one.question.fault:
            question = one.question
            yield sample_of(
                name, one, status=question.fault_status, error=question.fault, attempts=0
            )
