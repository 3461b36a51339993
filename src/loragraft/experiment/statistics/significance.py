"""Whether a difference between two experiments on the same questions can be chance.

:func:`deciding_test` is what a verdict rests on. The others stand beside it because readers know
them; where papers have several questions, they take these for independent and say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loragraft.experiment.statistics.packages import require_statistics
from loragraft.experiment.statistics.results import TestResult
from loragraft.experiment.statistics.sample import Paired, Values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED = 19_350_721
EXACT = 14
"""So many units that differ have all their signs tried: 16,384 ways."""
DRAWS = 20_000
"""Of signs beyond that: p = 0.05 is known within 0.003."""
CELLS = 5_000_000
"""Signs held at a time."""
NOISE = 1e-9
"""Of the sum of all sizes: sums that differ by less are the same."""

IGNORES_PAPERS = "takes questions of one paper for independent"
NO_DIFFERENCE = "no question differs"
PAPERS_EVEN_OUT = "no paper differs as a whole"
INDEPENDENT = "takes the two experiments for independent samples"


def deciding_test(paired: Paired, *, seed: int = SEED) -> TestResult:
    """Return the test that a verdict rests on.

    Where papers have several questions, the signs of whole papers are flipped; else exact McNemar
    for right and wrong, and signs of questions flipped for graded values.
    """
    if not paired.difference.clustered and paired.binary:
        return mcnemar(paired)
    return sign_flip(paired.difference, seed=seed)


def sign_flip(difference: Values, *, seed: int = SEED) -> TestResult:
    """Flip signs of papers' total differences; of questions', where each is its own paper.

    Without an effect, a paper's total is as likely as its opposite (Fisher, The Design of
    Experiments, 1935, section 21). Up to 14 papers that differ, all signs are tried; beyond,
    20,000 draws, with p = (hits + 1) / (draws + 1) (Phipson and Smyth 2010).

    Returns:
        With the sum of all differences as its statistic, and the number of papers.
    """
    import numpy as np

    unit = "papers" if difference.clustered else "questions"
    sums, _ = difference.totals()
    scale = float(np.abs(difference.values).sum())
    sizes = np.abs(sums[np.abs(sums) > NOISE * scale])
    total, count = float(sums.sum()), difference.paper_count
    name = f"sign flips of {unit}"
    if not len(sizes):
        note = PAPERS_EVEN_OUT if scale else NO_DIFFERENCE
        return TestResult(name, 1.0, total, count, note)
    bound = abs(total) - NOISE * scale
    if len(sizes) <= EXACT:
        return TestResult(f"{name}, exact", _exact_p(sizes, bound), total, count)
    return TestResult(name, _drawn_p(sizes, bound, seed), total, count, f"{DRAWS:,} draws")


def mcnemar(paired: Paired) -> TestResult:
    """Compare right and wrong answers by the questions on which the two differ.

    Exact: the binomial test of those (McNemar 1947).
    """
    require_statistics()
    from scipy import stats

    difference = paired.difference
    above, below = int((difference.values > 0).sum()), int((difference.values < 0).sum())
    if not above + below:
        return TestResult("exact McNemar", 1.0, None, difference.count, NO_DIFFERENCE)
    p = float(stats.binomtest(above, above + below).pvalue)
    return TestResult("exact McNemar", p, None, difference.count, _papers_note(difference))


def wilcoxon(paired: Paired) -> TestResult:
    """Compare by signed ranks of the differences (Wilcoxon 1945); equal pairs are left out.

    Up to 14 differences, all signs of their ranks are tried, ties included; scipy comes to the
    same p there, a hundred times slower.

    Returns:
        With the smaller sum of ranks as its statistic.
    """
    require_statistics()
    import numpy as np
    from scipy import stats

    name, values = "Wilcoxon signed rank", paired.difference.values
    values = values[values != 0]
    if not len(values):
        return TestResult(name, 1.0, None, 0, NO_DIFFERENCE)
    values = np.round(values / np.abs(values).max(), 12)  # equal differences, but for rounding
    note, ranks = _papers_note(paired.difference), stats.rankdata(np.abs(values))
    above, below = float(ranks[values > 0].sum()), float(ranks[values < 0].sum())
    if len(values) <= EXACT:
        p = _exact_p(ranks, abs(above - below))
    else:
        p = float(stats.wilcoxon(values).pvalue)
    return TestResult(name, p, min(above, below), len(values), note)


def paired_t(paired: Paired) -> TestResult:
    """Compare by Student's t of the differences (Student 1908)."""
    require_statistics()
    import numpy as np
    from scipy import stats

    difference, count = paired.difference, paired.difference.count
    values = difference.values
    if count < 2:
        return TestResult("paired t", 1.0, None, count, "needs two questions")
    if float(values.std()) <= NOISE * float(abs(values).max()):
        note = "has no value: all differences are the same" if values.any() else NO_DIFFERENCE
        return TestResult("paired t", 1.0, None, count, note)
    with np.errstate(over="ignore"):  # scipy divides by the mean, to warn of cancellation
        found = stats.ttest_1samp(values, 0.0)
    return TestResult(
        "paired t", float(found.pvalue), float(found.statistic), count, _papers_note(difference)
    )


def mann_whitney(paired: Paired) -> TestResult:
    """Compare as two independent samples, which they are not (Mann and Whitney 1947).

    Returns:
        With U of the one as its statistic.
    """
    require_statistics()
    from scipy import stats

    mine, theirs, count = paired.mine, paired.theirs, paired.difference.count
    if not count or min(mine.min(), theirs.min()) == max(mine.max(), theirs.max()):
        note = "all values are the same"
        return TestResult("Mann-Whitney U", 1.0, None, count, note)
    found = stats.mannwhitneyu(mine, theirs, alternative="two-sided")
    return TestResult(
        "Mann-Whitney U", float(found.pvalue), float(found.statistic), count, INDEPENDENT
    )


def _papers_note(difference: Values) -> str:
    return IGNORES_PAPERS if difference.clustered else ""


def _exact_p(sizes: NDArray[np.float64], bound: float) -> float:
    import numpy as np

    ways = 2 ** len(sizes)
    signs = ((np.arange(ways)[:, None] >> np.arange(len(sizes))) & 1) * 2 - 1
    return float((np.abs(signs @ sizes) >= bound).mean())


def _drawn_p(sizes: NDArray[np.float64], bound: float, seed: int) -> float:
    import numpy as np

    kinds, counts = np.unique(sizes, return_counts=True)
    generator = np.random.default_rng(seed)
    step = max(1, CELLS // len(kinds))
    hits = 0
    for start in range(0, DRAWS, step):
        sums = _positive(generator, counts, min(step, DRAWS - start)) @ kinds
        hits += int((np.abs(2 * sums - sizes.sum()) >= bound).sum())
    return (hits + 1) / (DRAWS + 1)


def _positive(
    generator: np.random.Generator, counts: NDArray[np.int64], draws: int
) -> NDArray[np.float64]:
    """Draw how many units of each size keep a positive sign, shape [draws, sizes].

    A bit each where all sizes differ, a binomial number where many are the same.
    """
    import numpy as np

    if (counts == 1).all():
        octets = generator.integers(0, 256, (draws, -(-len(counts) // 8)), np.uint8)
        return np.unpackbits(octets, axis=1, count=len(counts)).astype(np.float64)
    return generator.binomial(counts, 0.5, (draws, len(counts))).astype(np.float64)
