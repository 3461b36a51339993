"""What one stage showed: the rendered text, its tokens, the next token's chances, its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT_POSITIONS = 24
"""Positions compared at the end of each probe: with six probes some 140, which is 90 MB for a
vocabulary of 152,000."""
ANSWER_TOKENS = 32
"""Tokens of a sample: enough to tell gibberish from an answer, some seconds for a small model."""

LogProbs = NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """A greedy answer.

    Attributes:
        probe: Name of the conversation.
        text: What was written, special tokens shown.
        ids: The tokens, the end token included; empty where an engine tells none.
        finish: "stop" where it ended by itself, else "length".
    """

    probe: str
    text: str
    ids: tuple[int, ...]
    finish: str

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
        return {**vars(self), "ids": list(self.ids)}


@dataclass(frozen=True)
class Observation:
    """What was seen at one stage; tuples run over the probes.

    Attributes:
        texts: The conversation as the model reads it; None where the template refuses it.
        ids: Its tokens; None where there is no text.
        ends: Tokens at which generation ends; None where that cannot be seen.
        log_probs: After the last positions of the training's own tokens, each of shape
            ``[positions, vocabulary]``; None where the stage cannot be run.
        answers: Samples.
        notes: What a person should know of how it was seen.
    """

    texts: tuple[str | None, ...]
    ids: tuple[tuple[int, ...] | None, ...]
    ends: frozenset[int] | None = None
    log_probs: tuple[LogProbs, ...] | None = None
    answers: tuple[Answer, ...] = ()
    notes: tuple[str, ...] = field(default=())
