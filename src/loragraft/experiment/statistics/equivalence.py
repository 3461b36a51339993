"""Whether two experiments are as good as the same: two one-sided tests.

That no difference was shown says little: few questions show none. Equivalent is what surely differs
by less than a bound on either side (Schuirmann 1987, Journal of Pharmacokinetics and
Biopharmaceutics 15), papers being the units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loragraft.errors import InputError
from loragraft.experiment.statistics.interval import (
    SEED,
    mean_interval,
    one_sided,
    standard_error,
    without_spread,
)
from loragraft.experiment.statistics.significance import sign_flip

if TYPE_CHECKING:
    from loragraft.experiment.statistics.results import Interval, TestResult
    from loragraft.experiment.statistics.sample import Paired, Values

ALPHA = 0.05


@dataclass(frozen=True)
class Equivalence:
    """Whether a mean difference is surely small.

    Attributes:
        value: The mean difference.
        interval: Of it, two-sided 95 %.
        lower: What it surely exceeds, one-sided 95 %.
        upper: What it surely stays below.
        bound: On either side of 0.
        p: The larger one of the two one-sided tests.
        equivalent: Whether both tests and both bounds say so.
        different: The test for a difference, beside it: a difference can be real and small.
        count: Questions that both have.
        excluded: Questions that one of them lacks.
    """

    value: float
    interval: Interval
    lower: float
    upper: float
    bound: float
    p: float
    equivalent: bool
    different: TestResult
    count: int
    excluded: int


def equivalence(
    paired: Paired,
    bound: float,
    *,
    low: float | None = None,
    high: float | None = None,
    seed: int = SEED,
) -> Equivalence:
    """Say whether two experiments' means surely differ by less than a bound.

    Args:
        paired: Their values.
        bound: In the metric's unit, above 0.
        low: The metric's least possible value; None where there is none.
        high: Its greatest.
        seed: Of the bootstrap and of drawn signs.

    Raises:
        InputError: If no question has both values, or the bound is none.
        MissingExtraError: scipy or statsmodels is not installed.
    """
    if not (math.isfinite(bound) and bound > 0):
        raise InputError(f"The bound of equivalence is {bound}; expected a number above 0.")
    difference = paired.difference
    span = None if low is None or high is None else high - low
    least = None if span is None else -span
    interval = mean_interval(difference, low=least, high=span, seed=seed)
    lower, upper = one_sided(difference, low=least, high=span, seed=seed)
    p = tost_p(difference, bound, span=span)
    within = -bound < lower and upper < bound
    return Equivalence(
        difference.mean,
        interval,
        lower,
        upper,
        bound,
        p,
        within and p < ALPHA,
        sign_flip(difference),
        difference.count,
        paired.excluded,
    )


def tost_p(difference: Values, bound: float, *, span: float | None = None) -> float:
    """Return the larger p of two one-sided tests: is the mean below the bound, above its opposite?

    Student's t with the error of the mean over papers. Where all papers say the same: the chance
    that papers which break the bound are not among these, however far they lie (exact binomial).

    Args:
        difference: Of the questions.
        bound: Above 0.
        span: From the metric's least to its greatest value; None if nobody knows.

    Returns:
        1 for one paper, and without spread and span: nothing is known of what was not seen.
    """
    from scipy import stats

    papers, mean = difference.paper_count, difference.mean
    if papers < 2:
        return 1.0
    distances = (bound - mean, bound + mean)
    if not without_spread(difference, span or 0.0):
        error = standard_error(difference)
        return float(max(stats.t.sf(distance / error, papers - 1) for distance in distances))
    if span is None:
        return 1.0
    rooms = (span - mean, span + mean)
    return max(_unseen_p(*ends, papers) for ends in zip(distances, rooms, strict=True))


def _unseen_p(distance: float, room: float, papers: int) -> float:
    """Return the chance that none of so many is of those that are needed to move the mean so far.

    Args:
        distance: From the mean to the bound.
        room: From the mean to the greatest possible value: as far as one may move it.
        papers: How many there are.
    """
    if distance <= 0:
        return 1.0
    return (1 - distance / room) ** papers if distance < room else 0.0
