"""How well numbers order what they are about: rank correlation, ROC-AUC, a threshold's table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

POSITIVE = 0.5
"""Labels from here on are positive."""


@dataclass(frozen=True)
class Confusion:
    """Decisions by a threshold: a number from it on says yes.

    Attributes:
        threshold: The least number that says yes.
        true_positives: Positive, and said so.
        false_positives: Negative, said to be positive.
        true_negatives: Negative, and said so.
        false_negatives: Positive, said to be negative.
    """

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def total(self) -> int:
        """All decisions."""
        right = self.true_positives + self.true_negatives
        return right + self.false_positives + self.false_negatives

    @property
    def accuracy(self) -> float | None:
        """Share of right decisions; None without any."""
        return _share(self.true_positives + self.true_negatives, self.total)

    @property
    def precision(self) -> float | None:
        """Share of positives among what is said to be positive; None where nothing is."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """Share of the positives that are found; None where there are none."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None where neither can be had."""
        twice = 2 * self.true_positives
        return _share(twice, twice + self.false_positives + self.false_negatives)

    def to_json(self) -> dict[str, float | int | None]:
        """Return counts and shares as JSON values."""
        shares = {"accuracy": self.accuracy, "precision": self.precision, "recall": self.recall}
        return {**asdict(self), **shares, "f1": self.f1}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the correlation of ranks, equal numbers sharing their mean rank.

    None for fewer than two pairs, or where all numbers of one side are equal.
    """
    return _pearson(ranks(first), ranks(second)) if len(first) == len(second) else None


def ranks(values: Sequence[float]) -> list[float]:
    """Return each value's rank from 1; equal ones share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found, at = [0.0] * len(values), 0
    for _, group in groupby(order, key=values.__getitem__):
        members = list(group)
        for place in members:
            found[place] = at + (len(members) + 1) / 2
        at += len(members)
    return found


def _pearson(first: Sequence[float], second: Sequence[float]) -> float | None:
    if len(first) < 2:
        return None
    middle, other = math.fsum(first) / len(first), math.fsum(second) / len(second)
    ours, theirs = [one - middle for one in first], [one - other for one in second]
    spread = math.fsum(one * one for one in ours) * math.fsum(one * one for one in theirs)
    if spread <= 0:
        return None
    both = math.fsum(a * b for a, b in zip(ours, theirs, strict=True))
    return min(max(both / math.sqrt(spread), -1.0), 1.0)


def positives(labels: Sequence[float]) -> list[bool]:
    """Return which labels are positive."""
    return [label >= POSITIVE for label in labels]


def roc_auc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Return the chance that a positive's score is above a negative's, ties counting half.

    None where there are no positives or no negatives.
    """
    yes = sum(positive)
    no = len(positive) - yes
    if not yes or not no:
        return None
    held = math.fsum(rank for rank, right in zip(ranks(scores), positive, strict=True) if right)
    return (held - yes * (yes + 1) / 2) / (yes * no)


def confusion(scores: Sequence[float], positive: Sequence[bool], threshold: float) -> Confusion:
    """Return what becomes of decisions by a threshold."""
    counts = Counter(
        (score >= threshold, right) for score, right in zip(scores, positive, strict=True)
    )
    return Confusion(
        threshold, counts[True, True], counts[True, False], counts[False, False],
        counts[False, True],
    )  # fmt: skip


def choose_threshold(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Return the threshold with the greatest sum of sensitivity and specificity (Youden 1950).

    Choose it on other data than it is judged by. It lies half way between two scores that occur;
    of equally good ones the middle one is taken. None where there are no positives or no negatives,
    or all scores are equal.
    """
    yes = sum(positive)
    no = len(positive) - yes
    values = sorted(set(scores))
    if not yes or not no or len(values) < 2:
        return None
    gains = Counter[float]()
    for score, right in zip(scores, positive, strict=True):
        gains[score] += -no if right else yes  # what a threshold above it changes, times yes · no
    sums, total = [], 0
    for value in values[:-1]:
        total += int(gains[value])
        sums.append(total)
    best = max(sums)
    places = [place for place, found in enumerate(sums) if found == best]
    place = places[len(places) // 2]
    return values[place] + (values[place + 1] - values[place]) / 2
