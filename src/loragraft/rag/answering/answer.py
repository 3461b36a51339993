"""An answer from passages: found, fitted, asked, its citations resolved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loragraft.engine.protocol import ChatEngine, Message, OnText, Reply, Sampling
from loragraft.errors import InputError
from loragraft.rag.answering.citations import Citation, cited, fabricated, parse_citations
from loragraft.rag.answering.counting import TokenCounter, looks_cut
from loragraft.rag.answering.fit import distinct, fit, room_for
from loragraft.rag.answering.numbering import Numbers, Shown, label
from loragraft.rag.answering.prompt import arrange, compose, material
from loragraft.rag.records import Passage

DEFAULT_PASSAGES = 5
"""Passages for one question: about 1,300 tokens of chunks that MiniLM can read."""

Retrieve = Callable[[str, int], Sequence[Passage]]
"""Returns at most so many passages for a question, best first."""


@dataclass(frozen=True)
class CitedReply(Reply):
    """An answer with its passages and citations.

    Attributes:
        shown: The passages of its prompt, in the prompt's order.
        dropped: What was found and had no room, best first: whole passages, never parts.
        citations: What the answer cites, in its order.
    """

    shown: tuple[Shown, ...] = ()
    dropped: tuple[Passage, ...] = ()
    citations: tuple[Citation, ...] = ()

    @property
    def cited(self) -> list[int]:
        """Numbers of the shown passages that it cites, each once, in order."""
        return cited(self.citations)

    @property
    def fabricated(self) -> list[int]:
        """Numbers that it cites and that no passage has had, each once, in order."""
        return fabricated(self.citations)


@dataclass(frozen=True)
class Prepared:
    """A conversation that is ready to be answered.

    Attributes:
        messages: The conversation, the question with its passages last.
        shown: Its passages, in the prompt's order.
        dropped: Passages without room, best first.
        left_out: Turns at its beginning without room.
        tokens: Of the prompt: counted, or an estimate above.
        question: As the user wrote it.
    """

    messages: list[Message]
    shown: tuple[Shown, ...]
    dropped: tuple[Passage, ...]
    left_out: int
    tokens: int
    question: str


@dataclass(frozen=True)
class Past:
    """What was said before a question.

    Attributes:
        system: The system message, if there is one.
        turns: Questions, without their passages, and answers.
        left_out: Turns at the beginning that no longer have room.
    """

    system: str | None = None
    turns: tuple[tuple[str, str], ...] = ()
    left_out: int = 0

    def messages(self, left_out: int) -> list[Message]:
        """Return the conversation without its oldest turns."""
        found: list[Message] = []
        if self.system is not None:
            found.append({"role": "system", "content": self.system})
        for question, answer in self.turns[left_out:]:
            found.append({"role": "user", "content": question})
            found.append({"role": "assistant", "content": answer})
        return found


class Answering:
    """What answers questions from passages with one engine.

    Attributes:
        engine: Who answers.
        numbers: Of the passages, over the whole conversation.
    """

    def __init__(self, engine: ChatEngine, numbers: Numbers | None = None) -> None:
        """Get ready; several engines may share the numbers."""
        self.engine = engine
        self.numbers = Numbers() if numbers is None else numbers
        self._counter = TokenCounter(engine)

    def prepare(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: Sampling,
        *,
        past: Past | None = None,
        think: bool | None = None,
    ) -> Prepared:
        """Compose a question with as many of its passages as there is room for.

        Args:
            question: As the user wrote it.
            passages: Best first.
            sampling: Its most tokens are kept free, at most a quarter of the context.
            past: What was said before.
            think: Whether the prompt switches thinking.

        Raises:
            InputError: If there is no room for any passage.
        """
        before, found = past or Past(), distinct(passages)
        literals = getattr(self.engine, "literals", None)

        def numbered(some: Sequence[Passage]) -> list[Shown]:
            return self.numbers.preview(arrange(some))

        def build(left_out: int, some: Sequence[Passage]) -> list[Message]:
            content = compose(question, numbered(some), literals)
            return [*before.messages(left_out), {"role": "user", "content": content}]

        def count(messages: Sequence[Message]) -> int:
            return self._counter.count(messages, think=think)

        room = room_for(self.engine.context, sampling.max_tokens)
        fitted = fit(found, build, count, room, turns=len(before.turns), left_out=before.left_out)
        messages = build(fitted.left_out, fitted.kept)
        if found and not fitted.kept:
            raise self._no_room(room.prompt, count(messages), len(found))
        return Prepared(
            messages,
            tuple(numbered(fitted.kept)),
            fitted.dropped,
            fitted.left_out,
            count(messages),
            question,
        )

    def _no_room(self, room: int, tokens: int, found: int) -> InputError:
        return InputError(
            f"None of the {found} passages found has room: {self.engine.name} has a context of "
            f"{self.engine.context} tokens, of which a prompt may have {room}, and the question "
            f"alone needs {tokens}. Choose a larger one (--context), fewer --max-tokens, or chunks "
            "that are smaller (rag index --chunk-tokens)."
        )

    def answer(
        self,
        prepared: Prepared,
        sampling: Sampling,
        *,
        think: bool | None = None,
        on_text: OnText | None = None,
    ) -> CitedReply:
        """Let the engine answer; read what it cites.

        Raises:
            InputError: If a server cut the prompt: the answer rests on who knows what.
            LoragraftError: Whatever the engine refuses.
        """
        reply = self.engine.chat(prepared.messages, sampling, think=think, on_text=on_text)
        if not self._counter.exact and reply.finish != "cancelled":
            self._refuse_cut(prepared, reply)
            self._counter.learn(prepared.messages, reply)
        if reply.finish != "cancelled" or reply.text:
            self.numbers.give(prepared.shown)
        return self.read(reply, prepared)

    def read(self, reply: Reply, prepared: Prepared) -> CitedReply:
        """Return a reply with what it cites."""
        known = self.numbers.known | {one.number for one in prepared.shown}
        read = [*map(material, prepared.shown), prepared.question]
        found = parse_citations(reply.text, known, read)
        return CitedReply(
            **{**vars(reply), "shown": prepared.shown, "dropped": prepared.dropped},
            citations=tuple(found),
        )

    def _refuse_cut(self, prepared: Prepared, reply: Reply) -> None:
        if looks_cut(reply.prompt_tokens, self.engine.context):
            raise InputError(
                f"{self.engine.name} read {reply.prompt_tokens} tokens of a prompt of about "
                f"{prepared.tokens}: the server cut it, so the answer cannot be trusted. Choose a "
                "larger context (--context, num_ctx), or shorten the conversation (/reset)."
            )


def ask(
    question: str,
    retrieve: Retrieve,
    engine: ChatEngine,
    sampling: Sampling,
    *,
    passages: int = DEFAULT_PASSAGES,
    system: str | None = None,
    think: bool | None = None,
    on_text: OnText | None = None,
) -> CitedReply:
    """Answer one question from the passages that are found for it.

    Args:
        question: What is asked.
        retrieve: Finds passages.
        engine: Who answers.
        sampling: How tokens are chosen.
        passages: How many to look for.
        system: The system message; None leaves it to the template.
        think: Switch thinking; None leaves it as it is.
        on_text: Hears the answer while it comes.

    Raises:
        LoragraftError: If no passage has room, or whatever retrieval and engine refuse.
    """
    answering = Answering(engine)
    found = retrieve(question, passages)
    prepared = answering.prepare(question, found, sampling, past=Past(system), think=think)
    return answering.answer(prepared, sampling, think=think, on_text=on_text)


def source_record(shown: Shown) -> dict[str, Any]:
    """Return a passage's source as JSON values."""
    chunk, passage = shown.passage.chunk, shown.passage
    return {
        "label": shown.label, "chunk_id": chunk.chunk_id, "doc_id": chunk.doc_id,
        "title": chunk.title, "headings": list(chunk.headings), "start": chunk.start,
        "stop": chunk.stop, "score": passage.score, "rank": passage.rank,
    }  # fmt: skip


def citation_record(reply: CitedReply) -> dict[str, Any]:
    """Return what an answer rests on as JSON values."""
    return {
        "sources": [source_record(one) for one in reply.shown],
        "dropped": [passage.chunk.chunk_id for passage in reply.dropped],
        "citations": [
            {"label": label(one.number), "text": one.text, "start": one.start, "stop": one.stop,
             "known": one.known, "listed": one.listed}
            for one in reply.citations
        ],
        "fabricated": [label(number) for number in reply.fabricated],
    }  # fmt: skip
