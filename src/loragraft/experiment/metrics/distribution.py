"""What numbers look like together: their mean, spread, ends and histogram."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

BINS = 10


@dataclass(frozen=True)
class Distribution:
    """Of numeric outputs.

    Attributes:
        count: Of all of them.
        finite: Of those that are numbers; the rest of this is about them.
        distinct: Different ones.
        mean: None without any.
        std: Of these numbers, divided by their count.
        min: The least.
        max: The greatest.
        edges: Of the histogram's bins, one more than there are.
        bins: Numbers in each; the last one holds its upper edge.
    """

    count: int
    finite: int
    distinct: int
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    max: float | None = None
    edges: tuple[float, ...] = ()
    bins: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        return {**values, "edges": list(self.edges), "bins": list(self.bins)}


def distribution_of(
    values: Iterable[float], *, low: float | None = None, high: float | None = None
) -> Distribution:
    """Describe numbers.

    Args:
        values: Any; what is not finite is only counted.
        low: Where the histogram begins; None for the least.
        high: Where it ends; None for the greatest. A number beyond an end moves it.
    """
    everything = [float(value) for value in values]
    found = [value for value in everything if math.isfinite(value)]
    if not found:
        return Distribution(len(everything), 0, 0)
    least, greatest = min(found), max(found)
    scale = max(abs(least), abs(greatest)) or 1.0
    mean = math.fsum(value / scale for value in found) / len(found)  # no sum overflows
    spread = math.fsum((value / scale - mean) ** 2 for value in found) / len(found)
    first = least if low is None else min(low, least)
    last = greatest if high is None else max(high, greatest)
    edges, bins = _histogram(found, first, last)
    return Distribution(
        len(everything), len(found), len(set(found)), min(max(mean * scale, least), greatest),
        min(math.sqrt(spread), 1.0) * scale, least, greatest, edges, bins,
    )  # fmt: skip


def _histogram(
    found: list[float], first: float, last: float
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if first == last:
        return (first, last), (len(found),)
    step = last / BINS - first / BINS
    edges = [*(first + number * step for number in range(BINS)), last]
    bins = [0] * BINS
    for value in found:
        place = _place(value, first, step)
        bins[place] += 1
    return tuple(edges), tuple(bins)


def _place(value: float, first: float, step: float) -> int:
    """Return the number of a value's bin; all are in the first where no step is left."""
    if step <= 0:
        return 0
    steps = value / step - first / step
    return min(max(int(steps), 0), BINS - 1) if math.isfinite(steps) else 0
