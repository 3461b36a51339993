"""How far people, or people and a judge, agree beyond what chance would give.

Own computations, since no package here has all three: Cohen's kappa for two raters (Cohen 1960,
doi 10.1177/001316446002000104), Fleiss' for a fixed number of raters an item (Fleiss 1971, doi
10.1037/h0031619), Krippendorff's alpha for nominal values with gaps (Krippendorff 2011, "Computing
Krippendorff's Alpha-Reliability"). Each is 1 for full agreement, 0 for chance, and not defined
where everybody always says the same: chance then agrees fully, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def observed(a: Sequence[str], b: Sequence[str]) -> float | None:
    """Return the share of items on which two raters agree; None of no items."""
    if not a:
        return None
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)


def cohen_kappa(a: Sequence[str], b: Sequence[str]) -> float | None:
    """Return Cohen's kappa of two raters over the same items; None where it is not defined."""
    agreed = observed(a, b)
    if agreed is None:
        return None
    counts_a, counts_b = Counter(a), Counter(b)
    expected = sum(counts_a[value] * counts_b[value] for value in counts_a)
    if expected == len(a) ** 2:
        return None
    chance = expected / len(a) ** 2
    return (agreed - chance) / (1 - chance)


def fleiss_kappa(items: Sequence[Sequence[str]]) -> float | None:
    """Return Fleiss' kappa; None where it is not defined.

    Args:
        items: The values of each item, as many for each: two or more.

    Raises:
        ValueError: If the items have different numbers of values, or fewer than two.
    """
    if not items:
        return None
    raters = len(items[0])
    if raters < 2 or any(len(values) != raters for values in items):
        raise ValueError("each item needs the same number of values, two or more")
    counts = [Counter(values) for values in items]
    totals = sum(counts, Counter[str]())
    size = raters * len(items)
    if max(totals.values()) == size:
        return None
    agreed = sum(
        sum(n * (n - 1) for n in count.values()) / (raters * (raters - 1)) for count in counts
    ) / len(items)
    chance = sum((n / size) ** 2 for n in totals.values())
    return (agreed - chance) / (1 - chance)


def krippendorff_alpha(items: Sequence[Sequence[str]]) -> float | None:
    """Return Krippendorff's alpha for nominal values; None where it is not defined.

    Args:
        items: The values that each item got, however many; items with fewer than two say nothing.
    """
    pairable = [Counter(values) for values in items if len(values) > 1]
    totals = sum(pairable, Counter[str]())
    size = sum(totals.values())
    expected = size * size - sum(n * n for n in totals.values())
    if not expected:
        return None
    differing = 0.0
    for count in pairable:
        values = sum(count.values())
        differing += (values * values - sum(n * n for n in count.values())) / (values - 1)
    return 1 - (size - 1) * differing / expected
