"""Questions: closed-book, with passages that were found, or with whole documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loragraft.dataset.records import Qa, TaskRecord
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.engine.protocol import Reply, Sampling
from loragraft.errors import InputError
from loragraft.experiment.arms.asking import AskingArm, chatting, faults, measured_text, opened
from loragraft.experiment.arms.protocol import Asked, Question
from loragraft.experiment.arms.reference import likelihoods
from loragraft.experiment.arms.reply import turns
from loragraft.experiment.arms.retrieval import Retrieval, retrieved_of, shown_of
from loragraft.experiment.arms.stuffing import stuffed
from loragraft.experiment.config import SamplingConfig, TaskKind
from loragraft.experiment.records import Sample
from loragraft.rag.answering.answer import Answering, Past, Prepared
from loragraft.rag.answering.numbering import label
from loragraft.rag.answering.prompt import AFTER, BEFORE, NOTHING_FOUND, harmless
from loragraft.rag.records import Passage


@dataclass(frozen=True)
class _Cited(Question):
    """A question with passages, as its answer's citations are read by."""

    prepared: Prepared | None = None


class QaArm(AskingArm):
    """Records of the kind ``qa``."""

    task: TaskKind = "qa"

    def __init__(
        self,
        name: str,
        sampling: SamplingConfig,
        *,
        retrieval: Retrieval | None = None,
        stuff: bool = False,
        perplexity: bool = False,
    ) -> None:
        """Say what questions come with.

        Args:
            name: The experiment's id.
            sampling: How answers are written.
            retrieval: Where passages come from; None asks closed-book.
            stuff: Give whole documents of the gold evidence in place of passages found.
            perplexity: Whether to record how likely the model finds the reference answer.
        """
        super().__init__(name, sampling)
        self._retrieval, self._stuff, self._perplexity = retrieval, stuff, perplexity

    def identity(self) -> dict[str, Any]:
        """Return what decides a sample."""
        told: dict[str, Any] = {"task": self.task, "perplexity": self._perplexity}
        if self._retrieval is not None:
            told["index"] = self._retrieval.identity
            told["stuffed"] = self._stuff
            told["prompt"] = [BEFORE, AFTER, NOTHING_FOUND]
        return told

    def compose(self, record: TaskRecord, engine: BatchEngine | None) -> Question:
        """Make a question of a record."""
        assert isinstance(record, Qa)
        if self._retrieval is None:
            return self._closed_book(record, engine)
        if self._stuff:
            if not record.evidence:
                return _without_evidence(record)
            asking, context = self._asking(record, engine), chatting(engine).context
            return stuffed(record, self._retrieval, asking, context)
        found = self._retrieval.find(record.question)
        shown = found[: self._retrieval.config.passages]
        question = self._asking(record, engine)(shown)
        return replace(question, retrieved=tuple(map(retrieved_of, found)))

    def read(self, asked: Asked, reply: Reply) -> Sample:
        """Make a sample of an answer, with what it cites."""
        stripped = replace(reply, text=measured_text(reply))
        sample = super().read(asked, reply)
        prepared = asked.question.prepared if isinstance(asked.question, _Cited) else None
        if prepared is None:
            return sample
        cited = Answering(chatting(None)).read(stripped, prepared)
        citations = tuple(
            {"label": label(one.number), "text": one.text, "start": one.start, "stop": one.stop,
             "known": one.known, "listed": one.listed}
            for one in cited.citations
        )  # fmt: skip
        return replace(sample, citations=citations)

    def samples(self, asked: Sequence[Asked], engine: BatchEngine | None) -> Iterator[Sample]:
        """Yield one sample of each, as it is ready."""
        if not self._perplexity:
            yield from super().samples(asked, engine)
            return
        yield from faults(self.name, asked)
        able = [one for one in asked if not one.question.fault]
        if able:
            likely = likelihoods(opened(self.name, engine), able, self.sampling.think)
            for sample in self.answered(able, opened(self.name, engine)):
                extra = {**sample.extra, **likely[sample.question_id]}
                yield replace(sample, extra=extra)

    def _asking(
        self, record: Qa, engine: BatchEngine | None
    ) -> Callable[[Sequence[Passage]], Question]:
        """Return what makes a question of passages, given best first, as `chat --rag` does."""
        past, sampling = Past(self.sampling.system), Sampling(max_tokens=self.sampling.max_tokens)
        answering, think = Answering(chatting(engine)), self.sampling.think
        literals = getattr(engine, "literals", None)

        def ask(passages: Sequence[Passage]) -> Question:
            try:
                prepared = answering.prepare(
                    record.question, passages, sampling, past=past, think=think
                )
            except InputError as error:
                return Question(record, fault=str(error))
            return _Cited(
                record,
                tuple(prepared.messages),
                shown=tuple(
                    shown_of(one, harmless(one.passage.chunk.text, literals))
                    for one in prepared.shown
                ),
                tokens=prepared.tokens,
                max_tokens=self.sampling.max_tokens,
                fault=self.fault_of(prepared.tokens, engine),
                prepared=prepared,
            )

        return ask

    def _closed_book(self, record: Qa, engine: BatchEngine | None) -> Question:
        messages = turns(self.sampling.system, record.question)
        tokens = self.count(messages, engine)
        return Question(
            record,
            messages,
            tokens=tokens,
            max_tokens=self.sampling.max_tokens,
            fault=self.fault_of(tokens, engine),
        )


def _without_evidence(record: Qa) -> Question:
    return Question(
        record,
        fault=f"{record.id} names no evidence, so there is no document to give. Add it.",
        fault_status="unscorable",
    )
