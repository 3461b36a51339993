"""One metric of two experiments, compared over the questions that both have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from loragraft.errors import InputError
from loragraft.experiment.analysis.model import Comparison, Family, Protocol
from loragraft.experiment.statistics.effect import Better, cohens_d, d_z, flips, relative
from loragraft.experiment.statistics.interval import (
    SEED,
    mean_interval,
    standard_error,
    without_spread,
)
from loragraft.experiment.statistics.multiple import benjamini_hochberg, holm
from loragraft.experiment.statistics.results import TestResult
from loragraft.experiment.statistics.sample import Paired, Values
from loragraft.experiment.statistics.significance import (
    deciding_test,
    mann_whitney,
    mcnemar,
    paired_t,
    wilcoxon,
)

ALPHA = 0.05
POWER = 0.8


def compare_paired(
    paired: Paired,
    *,
    metric: str,
    names: tuple[str, str],
    better: Better | None = "higher",
    family: Family = "exploratory",
    low: float | None = None,
    high: float | None = None,
    seed: int = SEED,
) -> Comparison:
    """Compare two experiments by one metric.

    Args:
        paired: Their values.
        metric: Its name.
        names: Of the experiment, and of its baseline.
        better: Which way is better; None counts a greater value as better.
        family: Whether a promotion rests on it.
        low: The metric's least possible value; None where there is none.
        high: Its greatest, likewise.
        seed: Of the interval.

    Returns:
        With the p of its test as ``adjusted``: :func:`adjust` corrects it among all others.

    Raises:
        InputError: No question has a value of both.
        MissingExtraError: scipy or statsmodels is not installed.
    """
    difference, (experiment, baseline) = paired.difference, names
    if not difference.count:
        raise InputError(
            f"{experiment!r} and {baseline!r} share no question with a value of {metric!r}: found "
            "0, expected at least one. See what is missing: loragraft experiment status CONFIG."
        )
    span = None if low is None or high is None else high - low
    least = None if span is None else -span
    interval = mean_interval(difference, low=least, high=span, seed=seed)
    test = deciding_test(paired)
    above, below = flips(paired, better or "higher")
    return Comparison(
        metric=metric,
        experiment=experiment,
        baseline=baseline,
        value=float(paired.mine.mean()),
        baseline_value=float(paired.theirs.mean()),
        difference=difference.mean,
        interval=interval,
        count=difference.count,
        papers=difference.paper_count,
        excluded=paired.excluded,
        test=test,
        others=_others(paired, test),
        adjusted=test.p,
        family=family,
        d_z=d_z(difference),
        better=above,
        worse=below,
        smallest=smallest_visible(difference),
        protocol=Protocol(mann_whitney(paired), cohens_d(paired), relative(paired)),
    )


def adjust(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Correct the p of comparisons within their family.

    Holm among those that gate, Benjamini-Hochberg among those that are looked at.
    """
    corrected = dict[int, float]()
    ways: dict[Family, Callable[[Sequence[float]], tuple[float, ...]]]
    ways = {"gating": holm, "exploratory": benjamini_hochberg}
    for family, way in ways.items():
        places = [n for n, one in enumerate(comparisons) if one.family == family]
        p = way([comparisons[n].test.p for n in places])
        corrected.update(zip(places, p, strict=True))
    return tuple(
        dataclasses.replace(one, adjusted=corrected[n]) for n, one in enumerate(comparisons)
    )


def smallest_visible(difference: Values) -> float | None:
    """Return the smallest difference that so many papers had 80 % power to see.

    The standard error times the sum of Student's quantiles for 5 % two-sided and 80 % (Bloom,
    Minimum Detectable Effects, 1995): what papers share is in the error.

    Returns:
        None without spread, or with one paper.
    """
    from scipy import stats

    if difference.paper_count < 2 or without_spread(difference):
        return None
    freedom = difference.paper_count - 1
    quantiles = stats.t.ppf([1 - ALPHA / 2, POWER], freedom).sum()
    return float(quantiles) * standard_error(difference)


def _others(paired: Paired, deciding: TestResult) -> tuple[TestResult, ...]:
    beside = (mcnemar if paired.binary else wilcoxon)(paired)
    tests = (beside, paired_t(paired))
    return tuple(test for test in tests if test.name != deciding.name)
