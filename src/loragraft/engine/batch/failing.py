"""What becomes of a request that failed: another attempt, a note in its place, or the end."""

from __future__ import annotations

from dataclasses import dataclass

from loragraft.engine.batch.protocol import AnswerStatus
from loragraft.errors import LoragraftError


@dataclass(eq=False)
class FailedError(Exception):
    """One request failed; never leaves the engines.

    Attributes:
        status: What its job becomes if no further attempt is better.
        words: Why: one sentence with the next step.
        passing: Whether it lies with the server, and may be over in a moment. Anything else is
            tried once more only.
        limited: Whether the server only wants fewer requests; that is no fault of this one.
        after: Seconds for which the server asks.
        ends: Raised in place of the status once no attempt is left: nothing can be answered.
    """

    status: AnswerStatus
    words: str
    passing: bool = False
    limited: bool = False
    after: float | None = None
    ends: LoragraftError | None = None
