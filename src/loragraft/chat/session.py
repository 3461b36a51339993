"""One conversation with one model: its history, and what of it still fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loragraft.engine.protocol import ChatEngine, Message, OnText, Reply, Sampling

ANSWER_SHARE = 4
"""At most one part in four of the context is kept free for an answer."""


@dataclass(frozen=True)
class Turn:
    """What a person said and what the model answered."""

    question: str
    reply: Reply


class Session:
    """A conversation.

    Attributes:
        engine: Who answers.
        turns: The whole history.
        system: Text of the system message; None leaves it to the template.
        think: Whether to think, where the template has a switch; None leaves it as it is.
        notes: What the user should be told; whoever shows them takes them away.
    """

    def __init__(
        self,
        engine: ChatEngine,
        sampling: Sampling,
        *,
        system: str | None = None,
        think: bool | None = None,
    ) -> None:
        """Begin a conversation."""
        self.engine = engine
        self.turns: list[Turn] = []
        self.system, self.think = system, think
        self.notes: list[str] = []
        self._sampling = sampling
        self._left_out = 0
        self.notes.extend(getattr(engine, "notes", ()))
        self.check_thinking()

    def check_thinking(self) -> None:
        """Note where thinking is to be switched and the model has no switch."""
        if self.think is not None and not getattr(self.engine, "thinks", True):
            self.notes.append(
                f"{self.name} has no switch for thinking in its chat template: "
                f"'{'on' if self.think else 'off'}' changes nothing."
            )

    @property
    def name(self) -> str:
        """What a person calls the model."""
        return self.engine.name

    def ask(self, question: str, on_text: OnText | None = None) -> Reply:
        """Say something and return the answer.

        An answer that was cancelled before its first token leaves no turn behind, and a failure
        leaves none either: the conversation goes on as if nothing had been said.

        Raises:
            LoragraftError: Whatever the engine refuses.
        """
        question = question.encode("utf-8", "replace").decode()  # what no file or model can hold
        self._tell_of_control_tokens(question)
        reply = self._answer(question, on_text)
        if reply.finish != "cancelled" or reply.text:
            self.turns.append(Turn(question, reply))
        return reply

    def _answer(self, question: str, on_text: OnText | None) -> Reply:
        messages = self._fitting(question)
        return self.engine.chat(messages, self._sampling, think=self.think, on_text=on_text)

    def messages(self, question: str | None = None) -> list[Message]:
        """Return the conversation as the model would read it, without what is left out."""
        return list(self._messages(self._left_out, question))

    def reset(self) -> None:
        """Forget what was said; the system message stays."""
        self.turns.clear()
        self._left_out = 0

    def undo(self) -> str | None:
        """Take back the last turn; return its question, or None if there was none."""
        if not self.turns:
            return None
        question = self.turns.pop().question
        self._left_out = min(self._left_out, len(self.turns))
        return question

    def _messages(self, left_out: int, question: str | None) -> Iterator[Message]:
        if self.system is not None:
            yield {"role": "system", "content": self.system}
        for turn in self.turns[left_out:]:
            yield {"role": "user", "content": turn.question}
            yield {"role": "assistant", "content": turn.reply.text}
        if question is not None:
            yield {"role": "user", "content": question}

    def _fitting(self, question: str) -> list[Message]:
        """Return the conversation, its oldest turns left out until an answer fits; and say so."""
        before, room = self._left_out, self.engine.context - self._reserve()
        while self._left_out < len(self.turns):
            size = self._size(list(self._messages(self._left_out, question)))
            if size is None or size <= room:
                break
            self._left_out += 1
        if self._left_out > before:
            self._tell_of_left_out(self._left_out)
        return list(self._messages(self._left_out, question))

    def _tell_of_left_out(self, count: int) -> None:
        self.notes.append(
            f"{self.name} has a context of {self.engine.context} tokens, which the conversation "
            f"no longer fits: its oldest {count} of {len(self.turns)} turns are left out of what "
            "it reads. /reset begins anew; --context makes room."
        )

    def _tell_of_control_tokens(self, question: str) -> None:
        literals = getattr(self.engine, "literals", None)
        found = literals.find(question) if literals is not None else []
        if found:
            self.notes.append(
                f"Your message holds {', '.join(found)}. {self.name} reads that as text here; "
                "transformers and servers would take it as a control token."
            )

    def _reserve(self) -> int:
        return min(self._sampling.max_tokens, self.engine.context // ANSWER_SHARE)

    def _size(self, messages: list[Message]) -> int | None:
        """Return the tokens of a conversation, where the engine tells."""
        count = getattr(self.engine, "prompt_ids", None)
        return None if count is None else len(count(messages, think=self.think))
