"""One order out of two: what is near in meaning, and what has the words."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from loragraft.errors import InputError
from loragraft.rag.index.dense import Floats


@dataclass(frozen=True)
class Weights:
    """How much each search counts; only their ratio matters.

    Attributes:
        dense: Of similarity in meaning.
        lexical: Of common words.
    """

    dense: float = 0.5
    lexical: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what weighs nothing.

        Raises:
            InputError: If one is negative or not finite, or both are 0.
        """
        both = (self.dense, self.lexical)
        if not all(math.isfinite(w) and w >= 0 for w in both) or not math.isfinite(sum(both)):
            raise InputError(f"Weights {both}: give finite numbers from 0 on.")
        if not any(both):
            raise InputError("Both weights are 0: at least one search must count.")

    @property
    def share(self) -> float:
        """The dense weight as a share of both."""
        return self.dense / (self.dense + self.lexical)


DEFAULT_WEIGHTS = Weights()


def fuse(dense: Floats, lexical: Floats, weights: Weights = DEFAULT_WEIGHTS) -> Floats:
    """Return one score for every candidate of one question, from 0 to 1.

    Both scores are brought to a common scale by what the candidates themselves show, then added
    by their weights: ranks alone would forget by how much the first is ahead (Bruch, Gai, Ingber:
    An Analysis of Fusion Functions for Hybrid Retrieval, 2023).

    Args:
        dense: Cosine similarities, shape [candidates].
        lexical: BM25 scores, shape [candidates], 0 without a common word.
        weights: How much each counts.
    """
    share = np.float32(weights.share)
    fused: Floats = share * _scaled(dense, -1.0) + (1 - share) * _scaled(lexical, 0.0)
    return fused


def _scaled(scores: Floats, lowest: float) -> Floats:
    """Bring scores from what they are at least, and are at most here, to 0 to 1."""
    if not len(scores):
        return scores
    top = float(scores.max())
    if top <= lowest:
        return np.zeros_like(scores)
    scaled: Floats = np.maximum(scores - np.float32(lowest), 0) / np.float32(top - lowest)
    return scaled
