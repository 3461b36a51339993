"""What is asked and what is being written, row by row."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loragraft.engine.answer_text import AnswerText, tags_of
from loragraft.engine.batch.protocol import Job
from loragraft.engine.protocol import Finish, Reply
from loragraft.engine.sampling import Sampler
from loragraft.engine.transformers import TransformersEngine
from loragraft.engine.transformers_answer import Writing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALLEST = 128
"""Positions of the smallest slots."""


@dataclass(frozen=True)
class Asked:
    """A job, and the prompt that it is to the model.

    Attributes:
        job: What is asked.
        ids: The prompt's tokens.
        begun: Whether the prompt has opened the answer's thinking.
        context: Tokens that prompt and answer may have together.
    """

    job: Job
    ids: tuple[int, ...]
    begun: bool
    context: int

    @property
    def capacity(self) -> int:
        """Positions of the slots that it goes to.

        A function of the job and the context, so that whoever else is there changes nothing.
        """
        return capacity_for(min(len(self.ids) + self.job.sampling.max_tokens, self.context))


def capacity_for(tokens: int) -> int:
    """Return the size of slots for so many tokens: 128, 192, 256, 384, 512 ..."""
    size = SMALLEST
    while size < tokens:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def repeats_together(asked: Iterable[Asked]) -> Iterator[Asked]:
    """Yield them in their order, but those with the same prompt one after the other."""
    groups: dict[tuple[int, ...], list[Asked]] = {}
    for one in asked:
        groups.setdefault(one.ids, []).append(one)
    for group in groups.values():
        yield from group


class Row:
    """An answer that is being written.

    Attributes:
        asked: What it answers.
        since: What the clock of writing showed when it was begun.
    """

    def __init__(
        self, engine: TransformersEngine, asked: Asked, began: float, since: float = 0.0
    ) -> None:
        """Begin an answer, at a moment of :func:`time.perf_counter`."""
        sampling = asked.job.sampling
        text = AnswerText(sampling.stop, tags_of(engine.template or ""), begun=asked.begun)
        self.asked, self.since = asked, since
        self._writing = Writing(
            engine.token_text, text, engine.ends,
            most=sampling.max_tokens, room=asked.context - len(asked.ids),
        )  # fmt: skip
        self._sampler = Sampler(sampling)
        self._ids = list(asked.ids)
        self._began, self._first = began, 0.0

    @property
    def last(self) -> int:
        """The token that was chosen last."""
        return self._ids[-1]

    def take(self, logits: NDArray[np.float32]) -> Finish | None:
        """Choose the next token; return why the answer ends, if it does.

        Raises:
            BundleError: If the logits are not finite.
        """
        token = self._sampler.choose(logits, self._ids)
        self._ids.append(token)
        _, finish = self._writing.take(token)
        self._first = self._first or time.perf_counter()
        return finish

    def reply(self, finish: Finish) -> Reply:
        """Return the whole answer."""
        self._writing.text.finish()
        prompt = len(self.asked.ids)
        return Reply(
            self._writing.text.text,
            self._writing.text.thinking,
            finish,
            prompt,
            len(self._ids) - prompt,
            self._first - self._began,
            time.perf_counter() - self._first,
        )
