"""From conversations to the tokens that a transformers model reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from loragraft.engine.answer_text import begins_thinking, tags_of
from loragraft.engine.batch.plain import plain_text
from loragraft.engine.batch.protocol import Job
from loragraft.engine.batch.transformers_rows import Asked
from loragraft.engine.conversation import Literals, between_marks
from loragraft.engine.protocol import Message
from loragraft.engine.sampling import check_sampling
from loragraft.engine.transformers import TransformersEngine
from loragraft.errors import InputError


class ConversationTokens:
    """Renders and tokenizes; control tokens' texts in messages stay texts."""

    def __init__(self, engine: TransformersEngine) -> None:
        """Take the engine whose template and tokenizer it is."""
        self._engine = engine

    @cached_property
    def literals(self) -> Literals:
        """What finds control tokens' texts in messages."""
        added = self._engine.tokenizer.added_tokens_decoder.values()
        return Literals(token.content for token in added if token.special)

    def prompt(self, messages: Sequence[Message], *, think: bool | None = None) -> list[int]:
        """Return the token ids of a conversation, ready for its answer.

        Raises:
            TemplateError: If there is no template, or it refuses these messages.
            InputError: If a plain prompt stands among turns.
        """
        plain = plain_text(messages)
        if plain is not None:
            return self.text(plain, special=True)
        marked, marks = self.literals.replace(messages)
        ids: list[int] = []
        for part, literal in between_marks(self._engine.render(marked, think=think), marks):
            ids += self.text(part) if literal else self._engine.tokenize(part)
        return ids

    def text(self, text: str, *, special: bool = False) -> list[int]:
        """Return a text's tokens, those of control tokens' texts too as of plain text.

        Args:
            text: Any.
            special: Whether what the tokenizer puts around a text belongs to it.
        """
        return self._engine.tokenize(text, special=special, literal=True)

    def fitting(
        self, messages: Sequence[Message], think: bool | None, room: int
    ) -> tuple[int, ...]:
        """Return a conversation's tokens, so many of an answer fitting behind them.

        Raises:
            InputError: If there are none, or no room is left; or as :meth:`prompt`.
        """
        ids = tuple(self.prompt(messages, think=think))
        if not ids:
            raise InputError("The conversation is an empty text to the model.")
        if len(ids) + room > self._engine.context:
            raise InputError(
                f"The conversation has {len(ids)} tokens, and {self._engine.name} has a context "
                f"of {self._engine.context}. Give fewer or shorter passages, or take a model with "
                "a longer context."
            )
        return ids

    def ask(self, job: Job) -> Asked:
        """Return a job with its tokens.

        Raises:
            InputError: As :meth:`fitting`, or if a setting of its sampling means nothing.
        """
        check_sampling(job.sampling)
        ids = self.fitting(job.messages, job.think, 1)
        tags = tags_of(self._engine.template or "")
        begun = False
        if tags is not None and plain_text(job.messages) is None:
            begun = begins_thinking(self._engine.render(job.messages, think=job.think), tags)
        return Asked(job, ids, begun, self._engine.context)
