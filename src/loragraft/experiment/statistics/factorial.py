"""What tuning adds, what retrieval adds, and whether they add up: the 2x2 of four experiments.

Each effect is a contrast within a question (a question is answered by all four), so questions are
their own controls, and papers are the units as everywhere (Yates 1937, The Design and Analysis of
Factorial Experiments).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from loragraft.errors import InputError
from loragraft.experiment.statistics.interval import SEED, mean_interval
from loragraft.experiment.statistics.sample import Values, values_of
from loragraft.experiment.statistics.significance import sign_flip

if TYPE_CHECKING:
    from loragraft.experiment.statistics.results import Interval, TestResult

ContrastName = Literal["tuning", "retrieval", "interaction", "tuning without retrieval",
                       "tuning with retrieval", "retrieval without tuning",
                       "retrieval with tuning"]  # fmt: skip
Weights = tuple[float, float, float, float]

CONTRASTS: Mapping[ContrastName, Weights] = {
    "tuning": (-0.5, 0.5, -0.5, 0.5),
    "retrieval": (-0.5, -0.5, 0.5, 0.5),
    "interaction": (1, -1, -1, 1),
    "tuning without retrieval": (-1, 1, 0, 0),
    "tuning with retrieval": (0, 0, -1, 1),
    "retrieval without tuning": (-1, 0, 1, 0),
    "retrieval with tuning": (0, -1, 0, 1),
}
"""Weights of base, tuned, base with retrieval, tuned with retrieval. The first three are the
effects; the others are what they are made of."""


@dataclass(frozen=True)
class Contrast:
    """One effect of the 2x2.

    Attributes:
        name: Which.
        value: Its mean over questions.
        interval: Of it, two-sided 95 %.
        test: Papers' signs flipped, two-sided.
        count: Questions that all four have.
        papers: Papers among them.
        excluded: Questions that one of them lacks.
    """

    name: ContrastName
    value: float
    interval: Interval
    test: TestResult
    count: int
    papers: int
    excluded: int


@dataclass(frozen=True)
class Arms:
    """Values of the four experiments, by question.

    Attributes:
        base: The plain model without passages.
        tuned: The fine-tuned one without.
        base_retrieval: The plain model with passages.
        tuned_retrieval: The fine-tuned one with.
    """

    base: Mapping[str, float]
    tuned: Mapping[str, float]
    base_retrieval: Mapping[str, float]
    tuned_retrieval: Mapping[str, float]

    @property
    def four(self) -> tuple[Mapping[str, float], ...]:
        """Return them in the order of the contrasts' weights."""
        return self.base, self.tuned, self.base_retrieval, self.tuned_retrieval


def contrasts(
    arms: Arms,
    papers: Mapping[str, str | None],
    *,
    low: float | None = None,
    high: float | None = None,
    asked: int | None = None,
    seed: int = SEED,
) -> tuple[Contrast, ...]:
    """Return all effects of the 2x2, over the questions that all four have.

    Args:
        arms: Values of the four experiments.
        papers: Of the questions, by id.
        low: The metric's least possible value; None where there is none.
        high: Its greatest.
        asked: How many questions there were; None for those that one of them has.
        seed: Of the bootstrap.

    Raises:
        InputError: If no question has values of all four.
        MissingExtraError: scipy or statsmodels is not installed.
    """
    shared = sorted(set.intersection(*(set(arm) for arm in arms.four)))
    total = len(set().union(*arms.four)) if asked is None else asked
    if not shared:
        raise InputError(
            f"Of {total} questions none has values of all four experiments of the 2x2; expected at "
            "least one. See what is missing: loragraft experiment status CONFIG."
        )
    span = None if low is None or high is None else high - low
    found = []
    for name, weights in CONTRASTS.items():
        values = _contrast(arms, weights, shared, papers)
        most = None if span is None else span * sum(abs(weight) for weight in weights) / 2
        least = None if most is None else -most
        interval = mean_interval(values, low=least, high=most, seed=seed)
        found.append(Contrast(name, values.mean, interval, sign_flip(values), values.count,
                              values.paper_count, total - len(shared)))  # fmt: skip
    return tuple(found)


def _contrast(
    arms: Arms, weights: Weights, shared: list[str], papers: Mapping[str, str | None]
) -> Values:
    return values_of(
        {
            name: sum(w * arm[name] for w, arm in zip(weights, arms.four, strict=True))
            for name in shared
        },
        papers,
    )
