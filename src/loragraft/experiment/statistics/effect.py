"""How large a difference is, in units that other work uses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from loragraft.experiment.statistics.sample import Paired, Values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Better = Literal["higher", "lower"]
NOISE = 1e-12
"""Of the largest value: a deviation below it is rounding."""


def d_z(difference: Values) -> float | None:
    """Return the mean difference over the deviation of the differences, of questions.

    Returns:
        None without spread, or with one question.
    """
    deviation = _deviation(difference.values)
    return None if deviation is None else difference.mean / deviation


def cohens_d(paired: Paired) -> float | None:
    """Return the difference of means over the pooled deviation, as of two independent samples.

    Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), section 2.2.

    Returns:
        None where neither has spread, or with one question.
    """
    mine, theirs = _deviation(paired.mine), _deviation(paired.theirs)
    if mine is None and theirs is None:
        return None
    pooled = math.hypot(mine or 0.0, theirs or 0.0) / math.sqrt(2)  # tiny ones have no squares
    return float(paired.mine.mean() - paired.theirs.mean()) / pooled


def relative(paired: Paired) -> float | None:
    """Return the difference of means over the other's mean; None where that is 0."""
    if not len(paired.theirs) or not paired.theirs.mean():
        return None
    mine, theirs = float(paired.mine.mean()), float(paired.theirs.mean())
    return (mine - theirs) / abs(theirs)


def flips(paired: Paired, better: Better = "higher") -> tuple[int, int]:
    """Return how many questions the one does better, and how many worse."""
    above = int((paired.difference.values > 0).sum())
    below = int((paired.difference.values < 0).sum())
    return (above, below) if better == "higher" else (below, above)


def _deviation(values: NDArray[np.float64]) -> float | None:
    if len(values) < 2:
        return None
    deviation = float(values.std(ddof=1))
    return deviation if deviation > NOISE * float(abs(values).max()) else None
