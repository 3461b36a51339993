"""How many questions show an effect, and which effect so many questions can show.

A difference d whose values vary by s over questions is shown by

    n = design * (z(1 - alpha / sides) + z(power))² * s² / d²

questions (Miller 2024, arXiv 2411.00640, section 5; for right and wrong, with s² = discordance -
d², Lachin 1992, Statistics in Medicine 11). With few papers, Student's t takes the place of z
(Bloom 1995, Evaluation Review 19). ``design`` is the design effect of papers (Kish 1965).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

from loragraft.errors import InputError
from loragraft.experiment.statistics.packages import require_statistics

if TYPE_CHECKING:
    from types import ModuleType

    from loragraft.experiment.statistics.sample import Values

POWER = 0.8
"""Chance to show an effect that is there, by convention (Cohen 1988)."""
ALPHA = 0.05
FEW_PAPERS = 30
"""Below it, the deviation of papers is itself so uncertain that t is needed."""
MOST_EXACT = 20_000
"""Questions up to which the exact test's own power is computed; above, it is the formula's to half
a percentage point."""
SEEN = 1e-12
"""Probability of numbers of discordant questions that is left out at either end."""


def fewest(alpha: float = ALPHA, sides: int = 2) -> int:
    """Return how many papers, or questions, a test of signs must have to reach alpha.

    All of n signs alike have p = sides / 2^n: two-sided, five reach 0.0625 and six 0.031.
    """
    return math.ceil(math.log2(sides / alpha))


def questions_for(
    effect: float,
    *,
    discordance: float | None = None,
    deviation: float | None = None,
    design: float = 1.0,
    per_paper: float = 1.0,
    power: float = POWER,
    alpha: float = ALPHA,
    sides: int = 2,
    exact: bool = False,
) -> int:
    """Return how many questions show an effect.

    Args:
        effect: Mean difference per question.
        discordance: Share of questions on which one is right and the other wrong; at least the
            effect's size, whatever is given.
        deviation: Of the differences, for graded values; in place of discordance.
        design: Effect of papers, see :func:`design_effect`.
        per_paper: Questions of a paper: more questions come with more papers.
        power: Chance to show it.
        alpha: Of the test.
        sides: 1 for a bound on one side alone.
        exact: Whether exact McNemar decides: its steps cost questions more. Not with papers.

    Raises:
        InputError: If no number of questions shows it, as of an effect of 0.
        MissingExtraError: If scipy is needed, for few papers or exactly, and missing.
    """
    if not (math.isfinite(effect) and effect):
        raise InputError(f"No number of questions shows a difference of {effect}; expected another "
                         "than 0.")  # fmt: skip
    variance = _variance(effect, discordance, deviation) * design / effect**2
    count = _whole(_multiplier(alpha, power, sides, None) ** 2 * variance)
    if exact and discordance is not None and design == 1.0:
        return _exactly(max(fewest(alpha), count), effect, discordance, power, alpha)
    if count >= FEW_PAPERS * per_paper:
        return count
    for papers in range(fewest(alpha, sides), FEW_PAPERS):
        if _multiplier(alpha, power, sides, papers) ** 2 * variance <= papers * per_paper:
            return _whole(papers * per_paper)
    return _whole(FEW_PAPERS * per_paper)


def detectable(
    count: int,
    *,
    discordance: float | None = None,
    deviation: float | None = None,
    design: float = 1.0,
    papers: int | None = None,
    power: float = POWER,
    alpha: float = ALPHA,
    sides: int = 2,
) -> float | None:
    """Return the smallest effect that so many questions can show.

    Args:
        count: Questions.
        discordance: As in :func:`questions_for`.
        deviation: The same.
        design: Effect of papers.
        papers: How many there are; None for as many as questions.
        power: Chance to show it.
        alpha: Of the test.
        sides: 1 for a bound on one side alone.

    Returns:
        None where no effect can be shown: too few papers for any test of signs.
    """
    papers = count if papers is None else papers
    if papers < fewest(alpha, sides):
        return None
    factor = _multiplier(alpha, power, sides, papers) ** 2 * design / count
    if deviation is not None:
        return math.sqrt(factor) * deviation
    assert discordance is not None
    # d² = factor * (discordance - d²); with discordance = d where all of it is one-sided.
    effect = math.sqrt(factor * discordance / (1 + factor))
    return effect if effect <= discordance else factor / (1 + factor)


def exact_power(count: int, effect: float, discordance: float, alpha: float = ALPHA) -> float:
    """Return the chance that exact McNemar shows a difference, over all counts of discordance.

    Args:
        count: Questions, each of a paper of its own.
        effect: Share that one is right more often.
        discordance: Share on which they differ; at least the effect's size, whatever is given.
        alpha: Of the test, two-sided.
    """
    import numpy as np

    discordance = max(discordance, abs(effect))
    if not discordance:
        return 0.0
    binom = _scipy_stats().binom
    low, high = binom.ppf(SEEN, count, discordance), binom.ppf(1 - SEEN, count, discordance)
    pairs = np.arange(max(1, int(low)), int(high) + 1)
    critical = binom.ppf(alpha / 2, pairs, 0.5)
    critical -= binom.cdf(critical, pairs, 0.5) > alpha / 2
    better = (discordance + abs(effect)) / (2 * discordance)
    shown = binom.cdf(critical, pairs, better) + binom.sf(pairs - critical - 1, pairs, better)
    return float(binom.pmf(pairs, count, discordance) @ shown)


def design_effect(values: Values) -> float:
    """Return by how much papers raise the variance of a mean: at least 1.

    1 + (m - 1) * ICC, with m the size of papers weighted by size (Kish 1965) and the intra-class
    correlation of a one-way analysis of variance (Donner and Koval 1980, Biometrics 36), which is
    taken for 0 where it is below. Of one paper nothing is known: all its questions count as one.
    """
    count, papers = values.count, values.paper_count
    if count < 2 or papers == count:
        return 1.0
    if papers == 1:
        return float(count)
    sums, sizes = values.totals()
    squares = float((sizes.astype(float) ** 2).sum())
    means = sums / sizes
    between = float((sizes * (means - values.mean) ** 2).sum()) / (papers - 1)
    within = float(((values.values - means[values.papers]) ** 2).sum()) / (count - papers)
    size = (count - squares / count) / (papers - 1)
    spread = between + (size - 1) * within
    correlation = (between - within) / spread if spread > 0 else 0.0
    return 1.0 + (squares / count - 1) * min(max(correlation, 0.0), 1.0)


def _variance(effect: float, discordance: float | None, deviation: float | None) -> float:
    if deviation is not None:
        return deviation**2
    assert discordance is not None
    return max(discordance, abs(effect)) - effect**2


def _multiplier(alpha: float, power: float, sides: int, papers: int | None) -> float:
    if papers is None or papers >= FEW_PAPERS:
        normal = NormalDist()
        return normal.inv_cdf(1 - alpha / sides) + normal.inv_cdf(power)
    t = _scipy_stats().t
    return float(t.ppf(1 - alpha / sides, papers - 1) + t.ppf(power, papers - 1))


def _exactly(count: int, effect: float, discordance: float, power: float, alpha: float) -> int:
    """Return the least count, from the formula's on, at which exact McNemar has the power."""
    if count > MOST_EXACT or exact_power(count, effect, discordance, alpha) >= power:
        return count
    low, high = count, count + 1
    while exact_power(high, effect, discordance, alpha) < power:
        low, high = high, high + (high - count) * 2
    while high - low > 1:
        middle = (low + high) // 2
        enough = exact_power(middle, effect, discordance, alpha) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def _whole(number: float) -> int:
    return math.ceil(round(number, 9))


def _scipy_stats() -> ModuleType:
    require_statistics()
    from scipy import stats

    module: ModuleType = stats
    return module
