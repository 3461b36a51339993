"""How many questions would decide what so many could not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from loragraft.experiment.statistics.packages import require_statistics
from loragraft.experiment.statistics.power import POWER, fewest, questions_for
from loragraft.experiment.statistics.results import IntervalMethod

NOTHING = 1e-9
"""A smaller effect is rounding: what was observed sits on the bound."""
_ARE = 3 / math.pi
"""Asymptotic relative efficiency of Mann and Whitney's test to Student's under normality
(Hodges and Lehmann 1956)."""


@dataclass(frozen=True)
class Reach:
    """How far a bound is from what was observed.

    It holds all that chance does here: the values' spread and the papers that bind them.

    Attributes:
        distance: From the observed value to the bound, at least 0.
        tail: Chance that is left beyond the bound: 0.025 of a two-sided interval of 95 %.
        method: How the bound was made.
        count: Questions that it rests on.
        papers: Papers among them.
    """

    distance: float
    tail: float
    method: IntervalMethod
    count: int
    papers: int

    @property
    def per_paper(self) -> float:
        """Return questions of a paper, the mean."""
        return self.count / self.papers


def questions_needed(
    reach: Reach, effect: float, *, tail: float | None = None, power: float = POWER
) -> int | None:
    """Return how many questions would exclude a value that lies so far from the observed one.

    The standard error is taken from the bound itself, so the design effect of papers is in it;
    papers are to grow as questions do.

    Args:
        reach: Of what was observed.
        effect: Distance of the value that is to be excluded, at least 0.
        tail: Chance that may be left beyond, where it is another than the bound's.
        power: Chance to exclude it.

    Returns:
        None where no number can be named: the observed value is the one to be excluded, or a
        single paper tells nothing of others.

    Raises:
        MissingExtraError: If scipy is needed and missing.
    """
    wanted = reach.tail if tail is None else tail
    if effect < NOTHING or reach.papers < 2 or not math.isfinite(reach.distance):
        return None
    if reach.method == "no spread":
        count = math.ceil(_papers_without_spread(reach, effect, wanted) * reach.per_paper - 1e-9)
    elif reach.distance > 0:
        error = reach.distance / _quantile(reach)
        count = questions_for(effect, deviation=error * math.sqrt(reach.count), power=power,
                              per_paper=reach.per_paper, alpha=2 * wanted)  # fmt: skip
    else:
        count = 0
    return max(count, reach.count + 1)


def _papers_without_spread(reach: Reach, effect: float, tail: float) -> float:
    """Return so many papers that what none of them shows is less than the effect."""
    span = reach.distance / (1 - reach.tail ** (1 / reach.papers))
    if effect >= span:
        return 1.0
    return math.log(tail) / math.log1p(-effect / span)


def _quantile(reach: Reach) -> float:
    """Return how many standard errors a bound is away."""
    if reach.method != "t over papers":
        return NormalDist().inv_cdf(1 - reach.tail)
    require_statistics()
    from scipy.stats import t

    return float(t.isf(reach.tail, reach.papers - 1))


def least_for_signs(count: int, used: int, alpha: float) -> int | None:
    """Return with how many questions signs alone can come below alpha.

    Args:
        count: Questions there are.
        used: Papers or questions among them that differ.
        alpha: What p must be below; as flipped signs and McNemar's exact test have it.

    Returns:
        None where none differs.
    """
    if used < 1:
        return None
    return math.ceil(count * max(fewest(alpha) / used, 1.0))


def for_mann_whitney(d: float, alpha: float, power: float = POWER) -> int | None:
    """Return questions of each experiment for Mann and Whitney's test of two normal samples.

    Args:
        d: Cohen's, as observed.
        alpha: Two-sided.
        power: Wanted.
    """
    if d < NOTHING or not 0 < alpha < 1:
        return None
    return math.ceil(2 * questions_for(d, deviation=1.0, alpha=alpha, power=power) / _ARE)
