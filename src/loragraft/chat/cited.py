"""A conversation whose answers rest on passages of an index, and cite them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loragraft.chat.session import Session
from loragraft.engine.protocol import ChatEngine, OnText, Reply, Sampling
from loragraft.rag.answering.answer import (
    DEFAULT_PASSAGES,
    Answering,
    CitedReply,
    Past,
    Prepared,
    Retrieve,
)
from loragraft.rag.answering.numbering import Numbers, label
from loragraft.rag.answering.prompt import title_line
from loragraft.rag.records import Passage

SEARCHES_KEPT = 2
"""Of one question, for the next model that is asked the same: alone and with the one before."""


class Sources:
    """What several sessions share: how passages are found, and their numbers.

    Attributes:
        numbers: Of the passages; the same for every model, so that /open means one thing.
    """

    def __init__(self, retrieve: Retrieve, passages: int = DEFAULT_PASSAGES) -> None:
        """Get ready to search.

        Args:
            retrieve: Finds passages.
            passages: How many to look for, for each question.
        """
        self.numbers = Numbers()
        self._retrieve, self._passages = retrieve, passages
        self._found: dict[str, list[Passage]] = {}

    def find(self, question: str, before: str | None, cited: Sequence[Passage]) -> list[Passage]:
        """Return passages for a question, best first.

        A question that follows another is often not one without it ("And its cost?"). So the
        question's own passages are followed by those that the answer before cited, and by those
        that are found for both questions together: as many again at most.

        Args:
            question: The question.
            before: The question before it.
            cited: Passages that the answer to that cited.
        """
        own = self._look_for(question)
        both = [] if before is None else self._look_for(f"{before}\n{question}")
        return [*own, *_unlike(own, [*cited, *both])[: self._passages]]

    def _look_for(self, text: str) -> list[Passage]:
        """Search, or return what was found just now for another model."""
        if text not in self._found:
            while len(self._found) >= SEARCHES_KEPT:
                del self._found[next(iter(self._found))]
            self._found[text] = list(self._retrieve(text, self._passages))
        return self._found[text]


def _unlike(known: Sequence[Passage], more: Sequence[Passage]) -> list[Passage]:
    """Return passages that are not known yet, each once."""
    seen = {passage.chunk.chunk_id for passage in known}
    found: dict[str, Passage] = {}
    for passage in more:
        if passage.chunk.chunk_id not in seen:
            found.setdefault(passage.chunk.chunk_id, passage)
    return list(found.values())


class CitedSession(Session):
    """A conversation with an index.

    In what the model reads, earlier questions stand without their passages, and the passages that
    the last answer cited come again after the new ones, as far as there is room.
    """

    def __init__(
        self,
        engine: ChatEngine,
        sampling: Sampling,
        sources: Sources,
        *,
        system: str | None = None,
        think: bool | None = None,
    ) -> None:
        """Begin a conversation."""
        super().__init__(engine, sampling, system=system, think=think)
        self.sources = sources
        self._answering = Answering(engine, sources.numbers)

    def ask(self, question: str, on_text: OnText | None = None) -> Reply:
        """Say something and return the answer with its citations; the notes say what they are.

        Raises:
            LoragraftError: Whatever retrieval or the engine refuses, or if no passage has room.
        """
        reply = super().ask(question, on_text)
        if isinstance(reply, CitedReply):
            self.notes.extend(_remarks(reply, self.sources.numbers))
        return reply

    def _answer(self, question: str, on_text: OnText | None) -> Reply:
        """Find passages, fit them, let the engine answer."""
        found = self.sources.find(question, self._asked_before(), self._cited_before())
        prepared = self._answering.prepare(
            question, found, self._sampling, past=self._past(), think=self.think
        )
        self._tell_of_room(prepared)
        return self._answering.answer(prepared, self._sampling, think=self.think, on_text=on_text)

    def _past(self) -> Past:
        turns = tuple((turn.question, turn.reply.text) for turn in self.turns)
        return Past(self.system, turns, self._left_out)

    def _asked_before(self) -> str | None:
        return self.turns[-1].question if self.turns else None

    def _cited_before(self) -> list[Passage]:
        last = self.turns[-1].reply if self.turns else None
        numbers = last.cited if isinstance(last, CitedReply) else []
        found = (self.sources.numbers.find(number) for number in numbers)
        return [passage for passage in found if passage is not None]

    def _tell_of_room(self, prepared: Prepared) -> None:
        if prepared.left_out > self._left_out:
            self._tell_of_left_out(prepared.left_out)
        self._left_out = prepared.left_out
        if prepared.dropped:
            count = len(prepared.dropped)
            titles = "; ".join(title_line(passage.chunk) for passage in prepared.dropped)
            self.notes.append(
                f"{count} of {count + len(prepared.shown)} passages had no room in the context of "
                f"{self.engine.context} tokens and {self.name} has not read them: {titles}. "
                "--context makes room."
            )


def _remarks(reply: CitedReply, numbers: Numbers) -> Iterator[str]:
    """Yield what a reader should know of an answer's sources."""
    if not reply.shown:
        yield "The index holds nothing on this question: the answer is the model's own."
    for number in reply.cited:
        passage = numbers.find(number)
        if passage is not None:
            yield f"[{label(number)}] {place(passage)}"
    if reply.fabricated:
        listed = ", ".join(label(number) for number in reply.fabricated)
        yield f"The answer cites {listed}: no such passage was ever shown to the model."
    if reply.shown and not reply.citations and reply.finish != "cancelled":
        yield "The answer cites none of the passages that were shown:"
        for one in reply.shown:
            yield f"[{one.label}] {place(one.passage)}"


def place(passage: Passage) -> str:
    """Return where a passage stands, in words."""
    return f"{title_line(passage.chunk)} ({passage.chunk.place})"
