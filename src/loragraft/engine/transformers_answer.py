"""An answer that a transformers model writes, token by token: its text, and when it ends."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from loragraft.engine.answer_text import AnswerText
from loragraft.engine.protocol import Finish

UNSETTLED = "\ufffd"
"""What a tokenizer shows of a character whose bytes have not all come yet."""


class TokenText:
    """Tokens as text, control tokens left out but for the tags around thinking."""

    def __init__(self, tokenizer: Any, tags: Collection[str] = ()) -> None:  # noqa: ANN401
        """Take transformers' tokenizer, and the texts that are shown even of control tokens."""
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()
        special = {int(token) for token, entry in added if entry.special}
        shown = {int(token) for token, entry in added if entry.content in tags}
        self._hidden = special - shown
        self._skips = not special & shown

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        if self._skips:  # the tokenizer's own way, which knows of the spaces around them
            return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))
        shown = [token for token in tokens if token not in self._hidden]
        return str(self._tokenizer.decode(shown, skip_special_tokens=False))


class Writing:
    """An answer as its tokens come.

    Attributes:
        text: The answer so far.
        said: Its tokens, the end token included.
    """

    def __init__(
        self, tokens: TokenText, text: AnswerText, ends: Collection[int], *, most: int, room: int
    ) -> None:
        """Begin an answer.

        Args:
            tokens: What turns tokens into text.
            text: The answer's, nothing fed yet.
            ends: Tokens at which it ends.
            most: Tokens that it may have.
            room: Tokens until the context is full.
        """
        self.text, self.said = text, list[int]()
        self._tokens, self._ends = tokens, ends
        self._most, self._room = most, room
        self._shown = ""

    def take(self, token: int) -> tuple[list[tuple[str, bool]], Finish | None]:
        """Take a token; return what is sure of the text, and why the answer ends, if it does."""
        self.said.append(token)
        if token in self._ends:
            return [], "stop"
        pieces: list[tuple[str, bool]] = []
        whole = self._tokens.decode(self.said)
        if not whole.endswith(UNSETTLED):
            fresh, self._shown = whole[len(self._shown) :], whole
            pieces = self.text.feed(fresh.encode("utf-8", "replace"))
        return pieces, self._why()

    def _why(self) -> Finish | None:
        if self.text.stopped:
            return "stop"
        if len(self.said) >= self._most:
            return "length"
        return "context" if len(self.said) >= self._room else None
