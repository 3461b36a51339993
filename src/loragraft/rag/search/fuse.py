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

    dense: float = 0.6
    lexical: float = 0.4

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
"""Chosen on one half of three labelled sets, see docs/rag.md; from 0.5 to 0.8 little changes."""


def fuse(dense: Floats, lexical: Floats, weights: Weights = DEFAULT_WEIGHTS) -> Floats:
    """Return one score for every candidate of one question, from 0 to 1.

    Each score is taken as a share of the best candidate's, then both are added by their weights:
    ranks alone would forget by how much the first is ahead (Bruch, Gai and Ingber, An Analysis of
    Fusion Functions for Hybrid Retrieval, 2023).

    Args:
        dense: Cosine similarities, shape [candidates]; what is below 0 counts as 0.
        lexical: BM25 scores, shape [candidates], 0 without a common word.
        weights: How much each counts.
    """
    share = np.float32(weights.share)
    fused: Floats = share * _shares(dense) + (1 - share) * _shares(lexical)
    return fused


def _shares(scores: Floats) -> Floats:
    """Return scores as shares of the best; nothing where that is not above 0."""
    top = scores.max(initial=0)
    if top <= 0:
        return np.zeros_like(scores)
    shares: Floats = np.maximum(scores, 0) / top
    return shares
