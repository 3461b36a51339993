"""How many questions would decide what so many could not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from loragraft.experiment.statistics.results import IntervalMethod

POWER = 0.8
"""Chance to see an effect as large as the observed one with the questions named."""
FEW_PAPERS = 30
"""Below, the quantile is Student's, as the intervals have it."""
_ROUNDS = 20
_ARE = 3 / math.pi
"""Asymptotic relative efficiency of Mann and Whitney's test to Student's under normality."""


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


def questions_needed(
    reach: Reach, effect: float, *, tail: float | None = None, power: float = POWER
) -> int | None:
    """Return how many questions would exclude a value that lies so far from the observed one.

    The standard error is taken from the bound itself, so the design effect of papers is in it, and
    shrinks with the root of the number of questions, papers growing alike.

    Args:
        reach: Of what was observed.
        effect: Distance of the value that is to be excluded, at least 0.
        tail: Chance that may be left beyond, where it is another than the bound's.
        power: Chance to exclude it.

    Returns:
        None where no number can be named: the observed value is the one to be excluded, or a
        single paper tells nothing of others.
    """
    wanted = reach.tail if tail is None else tail
    if effect <= 0 or reach.papers < 2 or not math.isfinite(reach.distance):
        return None
    if reach.method == "no spread":
        papers = _papers_without_spread(reach, effect, wanted)
    elif reach.distance <= 0:
        papers = float(reach.papers)
    else:
        papers = _papers(reach, effect, wanted, power)
    return max(math.ceil(reach.count * papers / reach.papers - 1e-9), reach.count + 1)


def _papers(reach: Reach, effect: float, tail: float, power: float) -> float:
    error = reach.distance / _quantile(reach.tail, reach.papers, reach.method)
    scale = (error / effect) ** 2 * reach.papers
    papers = scale * (_normal(tail) + _normal(1 - power)) ** 2
    for _ in range(_ROUNDS):  # Student's quantile depends on the number that is looked for
        method: IntervalMethod = "t over papers" if papers < FEW_PAPERS else "bootstrap over papers"
        quantile = _quantile(tail, max(math.ceil(papers), 2), method)
        papers = (papers + scale * (quantile + _normal(1 - power)) ** 2) / 2
    return papers


def _papers_without_spread(reach: Reach, effect: float, tail: float) -> float:
    """Return so many papers that a share unseen in all of them is below the effect."""
    span = reach.distance / (1 - reach.tail ** (1 / reach.papers))
    if effect >= span:
        return float(reach.papers)
    return math.log(tail) / math.log1p(-effect / span)


def _quantile(tail: float, papers: int, method: IntervalMethod) -> float:
    if method != "t over papers":
        return _normal(tail)
    from scipy.stats import t

    return float(t.isf(tail, papers - 1))


def _normal(tail: float) -> float:
    return -NormalDist().inv_cdf(tail)


def least_for_signs(count: int, used: int, alpha: float) -> int | None:
    """Return with how many questions signs alone can come below alpha.

    The least p of n flipped signs, and of McNemar's test with n discordant questions, is 2 / 2^n.

    Args:
        count: Questions there are.
        used: Papers or questions among them that differ.
        alpha: What p must be below.

    Returns:
        None where none differs.
    """
    if used < 1:
        return None
    least = math.floor(math.log2(2 / alpha)) + 1
    return math.ceil(count * max(least / used, 1.0))


def for_mann_whitney(d: float, alpha: float, power: float = POWER) -> int | None:
    """Return questions of each experiment for Mann and Whitney's test of two normal samples.

    Args:
        d: Cohen's, as observed.
        alpha: Two-sided.
        power: Wanted.
    """
    if d <= 0 or not 0 < alpha < 1:
        return None
    return math.ceil(2 * ((_normal(alpha / 2) + _normal(1 - power)) / d) ** 2 / _ARE)
