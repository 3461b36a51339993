"""Shares to whole records: total, task types, papers and strata are rounded down or up, no more.

Strata are cells of a table of papers by task types, divided in three. Rounding one stratum after
the other ends with sums that are off by many, so whole tables are rounded (``even.py``).

Where two splits have the same share f, the third one, of share g, is taken out first: the numbers
g n are rounded. Then the rest r is halved: r is the floor or ceil of 2 f n, for every cell and
every sum, so that floor and ceil of r / 2 are floor or ceil of f n.

Where all shares differ that is not so, and papers as a whole are given up; task types and strata
never are. Task types are divided in three, then the strata within each. Three columns of a table
whose rows are whole can be rounded to any sums that are roundings themselves: circles lead through
every fraction, and with two columns settled the third is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from fractions import Fraction
from typing import NamedTuple, TypeAlias, TypeVar

from loragraft.dataset.split.even import round_evenly

Shares: TypeAlias = tuple[Fraction, Fraction, Fraction]
Counts: TypeAlias = tuple[int, int, int]
Table: TypeAlias = Mapping[tuple[Hashable, Hashable], int]
K = TypeVar("K", bound=Hashable)

SPLITS = ("train", "val", "test")
_FIRST = (2, 1, 0)
"""Who gets a record where remainders are equal: test, then val; more questions, finer verdicts."""


class Rounded(NamedTuple):
    """Whole numbers for a table.

    Attributes:
        cells: Counts for train, val and test, by the keys of row and column.
        rows: Whether the rows' sums are roundings for sure, too; all others always are.
    """

    cells: dict[tuple[Hashable, Hashable], Counts]
    rows: bool


def apportion(total: int, shares: Shares) -> Counts:
    """Divide a number by shares, by largest remainders (Hamilton's method)."""
    exact = [total * share for share in shares]
    counts = [math.floor(value) for value in exact]
    order = sorted(_FIRST, key=lambda at: exact[at] - counts[at], reverse=True)
    for at in order[: total - sum(counts)]:
        counts[at] += 1
    return (counts[0], counts[1], counts[2])


def round_table(table: Table, shares: Shares, seed: int) -> Rounded:
    """Divide each cell of a table into three.

    Args:
        table: Numbers by the keys of row (paper) and column (task type). The order takes part in
            the decision.
        shares: Of train, val and test; together 1.
        seed: Of the decision.

    Returns:
        Three counts a cell: each is floor or ceil of its share, as are the columns' sums; the
        totals are those of :func:`apportion`.
    """
    totals = apportion(sum(table.values()), shares)
    for first, second, third in ((0, 1, 2), (2, 0, 1), (1, 0, 2)):
        if shares[second] == shares[third]:
            return Rounded(_halving(table, shares, totals, (first, second, third), seed), True)
    return Rounded(_by_columns(table, shares, totals, seed), False)


def _halving(
    table: Table, shares: Shares, totals: Counts, order: Counts, seed: int
) -> dict[tuple[Hashable, Hashable], Counts]:
    """Take one split out of all records, and halve the rest."""
    first, second, third = order
    share = shares[first]
    scaled = {key: number * share.numerator for key, number in table.items()}
    taken = round_evenly(scaled, share.denominator, seed, SPLITS[first], total=totals[first])
    rest = {key: number - taken[key] for key, number in table.items()}
    half = round_evenly(rest, 2, seed, SPLITS[second], total=totals[second])
    result = {}
    for key in table:
        counts = {first: taken[key], second: half[key], third: rest[key] - half[key]}
        result[key] = (counts[0], counts[1], counts[2])
    return result


def _by_columns(
    table: Table, shares: Shares, totals: Counts, seed: int
) -> dict[tuple[Hashable, Hashable], Counts]:
    """Divide the columns' sums, then the cells of each column."""
    columns: Counter[Hashable] = Counter()
    for (_row, column), number in table.items():
        columns[column] += number
    cells: dict[Hashable, dict[tuple[Hashable, Hashable], int]] = {key: {} for key in columns}
    for key, number in table.items():
        cells[key[1]][key] = number
    result: dict[tuple[Hashable, Hashable], Counts] = {}
    for column, counts in divide_all(columns, shares, totals, seed, "all").items():
        result |= divide_all(cells[column], shares, counts, seed, f"of {column}")
    return result


def divide_all(
    numbers: Mapping[K, int], shares: Shares, totals: Counts, seed: int, purpose: str
) -> dict[K, Counts]:
    """Divide each number into three, each floor or ceil of its share, with given sums.

    Args:
        numbers: By keys.
        shares: Of the three.
        totals: Floor or ceil of each share of the numbers' sum.
        seed: Of the decision.
        purpose: Tells it from others of the same seed.
    """
    unit = math.lcm(*(share.denominator for share in shares))
    table = {
        (key, at): number * share.numerator * (unit // share.denominator)
        for key, number in numbers.items()
        for at, share in enumerate(shares)
    }
    found = round_evenly(table, unit, seed, purpose, columns=dict(enumerate(totals)))
    return {key: (found[key, 0], found[key, 1], found[key, 2]) for key in numbers}
