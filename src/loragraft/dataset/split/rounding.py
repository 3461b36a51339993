"""Shares to whole records: total, task types, papers and strata are rounded down or up, no more.

Strata are cells of a table of papers by task types. Which whole numbers go where is decided for the
whole table at once, by flows: greedy rounding of one stratum after the other ends with sums that
are off by many.

Train is rounded first, then val out of the rest. Why whole numbers exist, for a table with entries
n, a share f and rests r = n - train:

- Train: the real numbers f n lie within the bounds floor(f n) to ceil(f n) of cells, rows, columns
  and total; so whole numbers do, and for either rounding of the total (the totals of feasible
  tables are an interval with whole ends that holds f N).
- Val, where val and test have the same share: the real numbers r / 2 lie within the bounds, as r
  is floor(2 f n) or ceil(2 f n), and half of that lies between floor(f n) and ceil(f n).
- Shares that all differ: such numbers need not exist, and other orders are tried. If none does it,
  papers as a whole are given up; task types and strata never are. Three columns of a table with
  whole row sums can be rounded to any column sums that are roundings themselves: by Hall's
  condition only single columns and their complements could be in the way, and both have room. This
  is done for task types first, then for the strata within each.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias, TypeVar

from loragraft.dataset.split.flow import Bounds, Cell, fill_table

Shares: TypeAlias = tuple[Fraction, Fraction, Fraction]
Counts: TypeAlias = tuple[int, int, int]
K = TypeVar("K", bound=Hashable)

SPLITS = ("train", "val", "test")
_FIRST = (2, 1, 0)
"""Who gets a record where remainders are equal: test, then val; more questions, finer verdicts."""


class Rounded(NamedTuple):
    """Whole numbers for a table.

    Attributes:
        cells: Counts for train, val and test, by the keys of row and column.
        rows: Whether the rows' sums are roundings, too; all others always are.
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


def round_table(table: Mapping[tuple[Hashable, Hashable], int], shares: Shares) -> Rounded:
    """Divide each cell of a table into three.

    Args:
        table: Numbers by the keys of row (paper) and column (task type). The order decides which
            of several roundings is taken.
        shares: Of train, val and test; together 1.

    Returns:
        Three counts a cell: each is floor or ceil of its share, as are the columns' sums; the
        totals are those of :func:`apportion`.
    """
    totals = apportion(sum(table.values()), shares)
    for first, second in ((0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)):
        if found := _in_turn(table, shares, totals, first, second):
            return Rounded(found, rows=True)
    return Rounded(_by_columns(table, shares, totals), rows=False)


def _in_turn(
    table: Mapping[tuple[Hashable, Hashable], int],
    shares: Shares,
    totals: Counts,
    first: int,
    second: int,
) -> dict[tuple[Hashable, Hashable], Counts] | None:
    """Take one split out of all records, then another out of the rest."""
    third = 3 - first - second
    rows, columns = _sums(table)

    def one(number: int) -> Bounds:
        return _around(number * shares[first])

    taken = _fill(table, {k: one(n) for k, n in table.items()},
                  {k: one(n) for k, n in rows.items()},
                  {k: one(n) for k, n in columns.items()}, totals[first])  # fmt: skip
    if taken is None:
        return None
    rest = {key: number - taken[key] for key, number in table.items()}
    rest_rows, rest_columns = _sums(rest)

    def two(number: int, left: int) -> Bounds:
        own, other = _around(number * shares[second]), _around(number * shares[third])
        return Bounds(max(own.low, left - other.high), min(own.high, left - other.low))

    more = _fill(table, {k: two(n, rest[k]) for k, n in table.items()},
                 {k: two(n, rest_rows[k]) for k, n in rows.items()},
                 {k: two(n, rest_columns[k]) for k, n in columns.items()},
                 totals[second])  # fmt: skip
    if more is None:
        return None
    result: dict[tuple[Hashable, Hashable], Counts] = {}
    for key in table:
        counts = {first: taken[key], second: more[key], third: rest[key] - more[key]}
        result[key] = (counts[0], counts[1], counts[2])
    return result


def _by_columns(
    table: Mapping[tuple[Hashable, Hashable], int], shares: Shares, totals: Counts
) -> dict[tuple[Hashable, Hashable], Counts]:
    """Round the columns' sums, then the cells of each column to these."""
    _rows, columns = _sums(table)
    sums = divide_all(columns, shares, totals)
    result: dict[tuple[Hashable, Hashable], Counts] = {}
    for column, counts in sums.items():
        cells = {key: number for key, number in table.items() if key[1] == column}
        result |= divide_all(cells, shares, counts)
    return result


def divide_all(numbers: Mapping[K, int], shares: Shares, totals: Counts) -> dict[K, Counts]:
    """Divide each number into three, each floor or ceil of its share, with given sums.

    Args:
        numbers: By keys.
        shares: Of the three.
        totals: Floor or ceil of each share of the numbers' sum.
    """
    cells = [
        Cell(key, at, _around(number * shares[at]))
        for (key, number), at in itertools.product(numbers.items(), _FIRST)
    ]
    found = fill_table(
        cells,
        {key: Bounds(number, number) for key, number in numbers.items()},
        {at: Bounds(totals[at], totals[at]) for at in _FIRST},
        sum(totals),
    )
    if found is None:
        raise AssertionError(f"{dict(numbers)} cannot be rounded to {totals}")
    filled = {(cell.row, cell.column): count for cell, count in zip(cells, found, strict=True)}
    return {key: (filled[key, 0], filled[key, 1], filled[key, 2]) for key in numbers}


def _sums(
    table: Mapping[tuple[Hashable, Hashable], int],
) -> tuple[Counter[Hashable], Counter[Hashable]]:
    rows: Counter[Hashable] = Counter()
    columns: Counter[Hashable] = Counter()
    for (row, column), number in table.items():
        rows[row] += number
        columns[column] += number
    return rows, columns


def _around(value: Fraction) -> Bounds:
    return Bounds(math.floor(value), math.ceil(value))


def _fill(
    table: Sequence[tuple[Hashable, Hashable]] | Mapping[tuple[Hashable, Hashable], int],
    cells: Mapping[tuple[Hashable, Hashable], Bounds],
    rows: Mapping[object, Bounds],
    columns: Mapping[object, Bounds],
    total: int,
) -> dict[tuple[Hashable, Hashable], int] | None:
    keys = list(table)
    found = fill_table([Cell(*key, cells[key]) for key in keys], rows, columns, total)
    return None if found is None else dict(zip(keys, found, strict=True))
