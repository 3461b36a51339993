"""One answer of a loaded model, token after token, until it ends or is ended."""

from __future__ import annotations

import time
from collections.abc import Sequence

from loragraft.engine.answer_text import AnswerText
from loragraft.engine.llama_model import LlamaModel
from loragraft.engine.protocol import Finish, OnText, Reply
from loragraft.engine.sampling import Sampler


class LlamaAnswer:
    """Makes one answer."""

    def __init__(
        self,
        llama: LlamaModel,
        sampler: Sampler,
        text: AnswerText,
        *,
        ends: frozenset[int],
        shown: frozenset[int],
        space_first: bool,
        on_text: OnText | None,
    ) -> None:
        """Get ready.

        Args:
            llama: The model.
            sampler: Chooses tokens.
            text: Takes their bytes.
            ends: Tokens that end an answer, beside those that llama.cpp knows as such.
            shown: Control tokens that belong to the text: thinking tags.
            space_first: Whether the tokenizer puts a space in front of a text: the answer's is
                taken away, as transformers' decoding does.
            on_text: Hears pieces as they come.
        """
        self._llama, self._sampler, self._text = llama, sampler, text
        self._ends, self._shown, self._on_text = ends, shown, on_text
        self._space_first = space_first
        self._tokens = 0
        self._first: float | None = None

    def make(self, prompt: Sequence[int], limit: int) -> Reply:
        """Return the answer to a prompt; an interruption ends it where it is.

        Args:
            prompt: Token ids, fewer than the context holds.
            limit: Most tokens of the answer.
        """
        start = time.perf_counter()
        try:
            finish = self._generate(list(prompt), limit)
            self._tell(self._text.finish())
        except KeyboardInterrupt:
            finish = "cancelled"
            self._text.finish()
        end = time.perf_counter()
        first = self._first or end
        text = self._text
        return Reply(text.text, text.thinking, finish, len(prompt), self._tokens, first - start,
                     end - first)  # fmt: skip

    def _generate(self, said: list[int], limit: int) -> Finish:
        self._llama.read(said)
        while True:
            token = self._sampler.choose(self._llama.logits(), said)
            self._tokens += 1
            self._first = self._first or time.perf_counter()
            if token in self._ends or self._llama.ends_answer(token):
                return "stop"
            said.append(token)
            self._tell(self._text.feed(self._bytes(token)))
            if self._text.stopped:
                return "stop"
            if self._tokens >= limit:
                return "length"
            if len(said) >= self._llama.context:
                return "context"
            self._llama.add(token)

    def _bytes(self, token: int) -> bytes:
        data = self._llama.piece(token, special=token in self._shown)
        if self._space_first and data:
            self._space_first = False
            return data.removeprefix(b" ")
        return data

    def _tell(self, pieces: Sequence[tuple[str, bool]]) -> None:
        if self._on_text is not None:
            for piece, thinking in pieces:
                self._on_text(piece, thinking)
