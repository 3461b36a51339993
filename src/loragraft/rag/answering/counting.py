"""How many tokens a conversation has: by the engine's own tokenizer, or an estimate above it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import cast

from loragraft.engine.protocol import ChatEngine, Message, Reply

TURN_TOKENS = 16
"""What an estimate allows for the template around a message."""
BEGIN_TOKENS = 32
"""What it allows for a default system message and the beginning of the answer."""
MARGIN = 1.1
"""What a measured ratio above 1 is raised by: the next text may be denser still."""

_PARTS = re.compile(r" ?[^\x00-\x7f]|[A-Za-z0-9]+|[^\S\n]+|\n+|.", re.DOTALL)
_WORDS = re.compile("[A-Z]?[a-z]+|[A-Z]{1,2}")
LETTERS = 4
"""ASCII letters of a token, in words that a tokenizer does not know whole."""
LONG_WORD, FEW_LETTERS = 12, 3
"""Longer words are rare ones, and rare ones have shorter pieces."""
_ONE_TOKEN = re.compile("[\u00c0-\u017f\u0410-\u044f\u0451]")
"""Letters beyond ASCII that every vocabulary has: Latin-1, Latin Extended-A, Russian."""


def estimate(text: str) -> int:
    """Return a number of tokens that a text of any language stays below.

    Digits, letters between them (hashes), signs and line ends count one each, as in vocabularies
    that split them; other scripts' characters by their bytes, since a vocabulary without them
    reads bytes.
    """
    return sum(_weigh(part) for part in _PARTS.findall(text))


def _weigh(part: str) -> int:
    if part.isalnum() and part.isascii():
        return sum(map(_weigh_word, _WORDS.findall(part))) if part.isalpha() else len(part)
    if part.isspace() and part.isascii():
        return 0 if part == " " else 1  # one space belongs to the word after it
    return 1 if _ONE_TOKEN.match(part.lstrip()) else len(part.encode("utf-8", "replace"))


def _weigh_word(word: str) -> int:
    return -(-len(word) // (LETTERS if len(word) <= LONG_WORD else FEW_LETTERS))


class TokenCounter:
    """Counts conversations for one engine.

    Attributes:
        exact: Whether the engine's own tokenizer counts.
    """

    def __init__(self, engine: ChatEngine) -> None:
        """Look whether the engine shows its tokens."""
        self._ids = cast("Callable[..., Sequence[int]] | None", getattr(engine, "prompt_ids", None))
        self.exact = self._ids is not None
        self._ratio = 1.0

    def count(self, messages: Sequence[Message], *, think: bool | None = None) -> int:
        """Return the tokens of a conversation, ready for its answer."""
        if self._ids is not None:
            return len(self._ids(messages, think=think))
        return int(self._estimate(messages) * self._ratio) + 1

    def learn(self, messages: Sequence[Message], reply: Reply) -> None:
        """Raise the estimate where the engine read more: text of a kind that it does not foresee.

        It is never lowered: some servers count only what they had not in their cache.
        """
        if not self.exact and reply.prompt_tokens > self._estimate(messages) * self._ratio:
            self._ratio = reply.prompt_tokens / self._estimate(messages) * MARGIN

    def _estimate(self, messages: Sequence[Message]) -> int:
        texts = sum(estimate(message["content"]) for message in messages)
        return texts + TURN_TOKENS * len(messages) + BEGIN_TOKENS


def looks_cut(read: int, context: int) -> bool:
    """Whether the number of tokens that a server read says that it cut the prompt.

    Ollama's older versions then fill the whole context with what they keep; newer ones are told
    to refuse instead (``truncate: false``). No prompt of ours is that long: an answer has room.

    Args:
        read: Tokens that the server says it read; 0 where it says nothing.
        context: Tokens of its context.
    """
    return read >= context
