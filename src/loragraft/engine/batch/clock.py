"""How long writing an answer took, without what a batch did for others meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from loragraft.engine.batch.protocol import Answer


class WritingClock:
    """Goes while the answers of a batch get their next token, and stands still in between.

    Between two tokens of an answer a batch reads the prompts of others, and whoever takes the
    answers works: an answer's own time has no part of that.

    Attributes:
        seconds: So far.
    """

    def __init__(self) -> None:
        """Begin at nothing."""
        self.seconds = 0.0

    @contextmanager
    def going(self) -> Iterator[None]:
        """Let it go."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    def timed(self, answer: Answer, since: float) -> Answer:
        """Return an answer with its time of writing.

        Args:
            answer: It has just ended.
            since: What the clock showed at its first token.
        """
        if answer.reply is None:
            return answer
        return replace(answer, reply=replace(answer.reply, seconds=self.seconds - since))
