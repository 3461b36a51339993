"""One answer of a loaded model, token after token, until it ends or is ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from loragraft.engine.answer_text import AnswerText
from loragraft.engine.llama_model import LlamaModel
from loragraft.engine.protocol import Finish, OnText, Reply, Sampling
from loragraft.engine.sampling import Sampler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Rule(Protocol):
    """What an answer has to follow."""

    def allows(self, token: int) -> bool:
        """Whether a token may come next."""

    def only(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits with those of all other tokens at minus infinity."""

    def accept(self, token: int) -> None:
        """Go on after a token that is allowed."""


class LlamaAnswer:
    """Makes one answer.

    Attributes:
        said: Token ids so far, the prompt's first; the last is still to be read.
    """

    def __init__(
        self,
        llama: LlamaModel,
        sampling: Sampling,
        text: AnswerText,
        *,
        ends: frozenset[int],
        shown: frozenset[int],
        space_first: bool,
        on_text: OnText | None = None,
        rule: Rule | None = None,
    ) -> None:
        """Get ready.

        Args:
            llama: The model.
            sampling: How tokens are chosen, and how many at most.
            text: Takes their bytes.
            ends: Tokens that end an answer, beside those that llama.cpp knows as such.
            shown: Control tokens that belong to the text: thinking tags.
            space_first: Whether the tokenizer puts a space in front of a text: the answer's is
                taken away, as transformers' decoding does.
            on_text: Hears pieces as they come.
            rule: What the answer has to follow once thinking is over.

        Raises:
            InputError: If a setting means nothing.
        """
        self._llama, self._sampler, self._text = llama, Sampler(sampling), text
        self._ends, self._shown, self._on_text = ends, shown, on_text
        self._space_first, self._rule = space_first, rule
        self._limit = sampling.max_tokens
        self.said: list[int] = []
        self._prompt = self._tokens = 0
        self._start = self._first = 0.0

    def make(self, prompt: Sequence[int]) -> Reply:
        """Return the answer to a prompt; an interruption ends it where it is.

        Args:
            prompt: Token ids, fewer than the context holds.
        """
        self.begin(prompt)
        try:
            finish = self._generate()
            return self.reply(finish)
        except KeyboardInterrupt:
            self._text.finish()
            return self._reply("cancelled")

    def begin(self, prompt: Sequence[int]) -> None:
        """Note the prompt and the time."""
        self.said, self._prompt = list(prompt), len(prompt)
        self._start = time.perf_counter()

    def _generate(self) -> Finish:
        self._llama.read(self.said)
        while (finish := self.take(self._llama.logits())) is None:
            self._llama.add(self.said[-1])
        return finish

    def take(self, logits: NDArray[np.float32]) -> Finish | None:
        """Choose the next token; return why the answer ends with it, None where it goes on."""
        token = self._choose(logits)
        self._tokens += 1
        self._first = self._first or time.perf_counter()
        if token in self._ends or self._llama.ends_answer(token):
            return "stop"
        self.said.append(token)
        self._tell(self._text.feed(self._bytes(token)))
        if self._text.stopped:
            return "stop"
        if self._tokens >= self._limit:
            return "length"
        return "context" if len(self.said) >= self._llama.context else None

    def _choose(self, logits: NDArray[np.float32]) -> int:
        token = self._sampler.choose(logits, self.said)
        rule = self._rule
        if rule is None or self._text.thinks:
            return token
        if not rule.allows(token):  # as if the others had never been there: both draws together
            token = self._sampler.choose(rule.only(logits), self.said)
        rule.accept(token)
        return token

    def reply(self, finish: Finish) -> Reply:
        """Return the whole answer, what was held back included."""
        self._tell(self._text.finish())
        return self._reply(finish)

    def _reply(self, finish: Finish) -> Reply:
        end = time.perf_counter()
        first = self._first or end
        text = self._text
        return Reply(text.text, text.thinking, finish, self._prompt, self._tokens,
                     first - self._start, end - first)  # fmt: skip

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
