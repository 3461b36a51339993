"""Several answers to a question: what varies within questions, and what between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Variance in two parts, by one-way analysis of variance with questions as groups.

    Attributes:
        within: Of the answers to one question: what chance alone does.
        between: Of the questions' own means, chance taken out: never below 0.
        answers: Answers in all.
        questions: Questions with two or more.
    """

    within: float
    between: float
    answers: int
    questions: int


def spread_of(groups: Sequence[Sequence[float]]) -> Spread | None:
    """Separate the variance within questions from that between them.

    Groups of different sizes are weighted as the analysis of variance has it: the mean squares
    within, and (between - within) / n0 with n0 = (N - Σn²/N) / (k - 1), see Searle, Casella and
    McCulloch, Variance Components (1992), section 3.6.

    Returns:
        None unless a question has two answers.
    """
    repeated = [group for group in groups if len(group) > 1]
    if not repeated:
        return None
    total, count = sum(map(len, groups)), len(groups)
    centres = [sum(group) / len(group) for group in groups]
    inside = sum((x - c) ** 2 for group, c in zip(groups, centres, strict=True) for x in group)
    within = inside / (total - count)
    if count < 2:
        return Spread(within, 0.0, total, len(repeated))
    grand = sum(map(sum, groups)) / total
    across = sum(len(g) * (c - grand) ** 2 for g, c in zip(groups, centres, strict=True))
    size = (total - sum(len(group) ** 2 for group in groups) / total) / (count - 1)
    between = max((across / (count - 1) - within) / size, 0.0)
    return Spread(within, between, total, len(repeated))
