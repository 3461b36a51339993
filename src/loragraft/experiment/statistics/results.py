"""What a statistic says: an interval, a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IntervalMethod = Literal["t over papers", "bootstrap over papers", "no spread", "one paper"]
"""``t over papers``: Student's t on the totals of papers; ``bootstrap over papers``: papers drawn
with replacement, percentiles; ``no spread``: all papers say the same, and only their number bounds
what was not seen; ``one paper``: it says nothing of others, all that is possible remains."""


@dataclass(frozen=True)
class Interval:
    """Where a mean may lie.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        level: Chance that such an interval holds the mean: 0.95.
        method: How it was made.
    """

    low: float
    high: float
    level: float
    method: IntervalMethod


@dataclass(frozen=True)
class TestResult:
    """What a test says.

    Attributes:
        name: As the field calls it: ``exact McNemar``.
        p: Two-sided unless the name says otherwise.
        statistic: Its own; None where it has none worth showing.
        count: Questions or papers that it used.
        note: What a reader must know: that it ignores papers, that there were no differences.
    """

    name: str
    p: float
    statistic: float | None
    count: int
    note: str = ""
