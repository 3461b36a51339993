"""Controlled rounding: cells, rows, columns and totals at once, whatever the table."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.dataset.split.even import round_evenly
from loragraft.dataset.split.rounding import (
    Rounded,
    Shares,
    apportion,
    divide_all,
    round_table,
)
from loragraft.dataset.split.shares import read_shares
from loragraft.errors import InputError

USUAL = read_shares(("0.70", "0.15", "0.15"))
TABLES = st.dictionaries(
    st.tuples(st.integers(0, 7), st.sampled_from("abcd")), st.integers(1, 30), min_size=1
)
PARTS = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))


def fits(count: int, number: int, share: Fraction) -> bool:
    return math.floor(number * share) <= count <= math.ceil(number * share)


def check(table: dict[tuple[int, str], int], shares: Shares, rounded: Rounded) -> None:
    """Hold every count against its share, and the totals against the apportionment."""
    numbers: Counter[object] = Counter()
    counts: Counter[tuple[object, int]] = Counter()
    for (row, column), number in table.items():
        cell = rounded.cells[row, column]
        assert sum(cell) == number
        for name in [("cell", row, column), ("row", row), ("column", column), "all"]:
            numbers[name] += number
            counts.update({(name, at): count for at, count in enumerate(cell)})
    for name, number in numbers.items():
        if name[0] != "row" or rounded.rows:  # type: ignore[index]
            for at, share in enumerate(shares):
                assert fits(counts[name, at], number, share), (name, at)
    assert tuple(counts["all", at] for at in range(3)) == apportion(sum(table.values()), shares)


@given(table=TABLES, seed=st.integers(0, 9))
@settings(max_examples=120)
def test_with_the_usual_shares_everything_is_a_rounding(
    table: dict[tuple[int, str], int], seed: int
) -> None:
    rounded = round_table(table, USUAL, seed)
    assert rounded.rows
    check(table, USUAL, rounded)


@given(table=TABLES, parts=PARTS)
@settings(max_examples=120)
def test_with_any_shares_strata_columns_and_totals_are(
    table: dict[tuple[int, str], int], parts: tuple[int, int, int]
) -> None:
    shares = tuple(Fraction(part, sum(parts)) for part in parts)
    rounded = round_table(table, (shares[0], shares[1], shares[2]), 1)
    check(table, (shares[0], shares[1], shares[2]), rounded)


@given(numbers=st.lists(st.integers(0, 30), min_size=1, max_size=12), parts=PARTS)
def test_numbers_are_divided_to_any_totals_that_are_roundings(
    numbers: list[int], parts: tuple[int, int, int]
) -> None:
    shares = tuple(Fraction(part, sum(parts)) for part in parts)
    exact = [sum(numbers) * share for share in shares]
    choices = [sorted({math.floor(value), math.ceil(value)}) for value in exact]
    for first in choices[0]:
        for second in choices[1]:
            third = sum(numbers) - first - second
            if third in choices[2]:
                found = divide_all(dict(enumerate(numbers)), (shares[0], shares[1], shares[2]),
                                   (first, second, third), 1, "x")  # fmt: skip
                assert tuple(map(sum, zip(*found.values(), strict=True))) == (first, second, third)
                for at, counts in found.items():
                    assert all(map(fits, counts, [numbers[at]] * 3, shares))


@pytest.mark.parametrize(
    ("shares", "exact"),
    [(("80", "10", "10"), True), (("10", "80", "10"), True), (("10", "10", "80"), True),
     (("1/3", "1/3", "1/3"), True), (("70", "10", "20"), False)],
)  # fmt: skip
def test_papers_are_rounded_too_where_two_shares_are_equal(
    shares: tuple[str, str, str], exact: bool
) -> None:
    table = {(row, column): 1 + (row * 5 + at * 7) % 6
             for row in range(30) for at, column in enumerate("abcd")}  # fmt: skip
    rounded = round_table(table, read_shares(shares), 1)
    assert rounded.rows == exact
    check(table, read_shares(shares), rounded)


def test_a_greedy_rounding_would_be_off_by_many() -> None:
    table = {(paper, "x"): 1 for paper in range(100)}
    rounded = round_table(table, USUAL, 1)
    assert tuple(map(sum, zip(*rounded.cells.values(), strict=True))) == (70, 15, 15)


@given(total=st.integers(0, 10**6), parts=PARTS)
def test_an_apportionment_is_exact_and_within_one(total: int, parts: tuple[int, int, int]) -> None:
    shares = tuple(Fraction(part, sum(parts)) for part in parts)
    counts = apportion(total, (shares[0], shares[1], shares[2]))
    assert sum(counts) == total
    assert all(map(fits, counts, [total] * 3, shares))


def test_of_equal_remainders_test_comes_first() -> None:
    assert apportion(10, USUAL) == (7, 1, 2)
    assert apportion(0, USUAL) == (0, 0, 0)


@given(
    table=st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 5)), st.integers(0, 99),
                          min_size=1),
    unit=st.integers(1, 30), seed=st.integers(0, 99), up=st.booleans(),
)  # fmt: skip
def test_any_table_is_rounded_with_all_its_sums(
    table: dict[tuple[int, int], int], unit: int, seed: int, up: bool
) -> None:
    exact = Fraction(sum(table.values()), unit)
    total = math.ceil(exact) if up else math.floor(exact)
    rounded = round_evenly(table, unit, seed, "x", total=total)
    assert sum(rounded.values()) == total
    for key, value in table.items():
        assert fits(rounded[key], value, Fraction(1, unit))
    for side in (0, 1):
        for name in {key[side] for key in table}:
            own = sum(value for key, value in table.items() if key[side] == name)
            found = sum(count for key, count in rounded.items() if key[side] == name)
            assert fits(found, own, Fraction(1, unit))


def test_strata_of_every_size_have_their_shares_on_average() -> None:
    """A flow or a greedy rounding gave test a third of the strata of one record, not 15 %."""
    table = {(row, column): 1 + (row * 5 + at * 7) % 4
             for row in range(20) for at, column in enumerate("abcd")}  # fmt: skip
    counts: Counter[tuple[int, int]] = Counter()
    seeds = 60
    for seed in range(seeds):
        for key, cell in round_table(table, USUAL, seed).cells.items():
            counts.update({(table[key], at): count for at, count in enumerate(cell)})
    sizes = Counter(table.values())
    for size, strata in sizes.items():
        for at, share in enumerate(USUAL):
            found = counts[size, at] / (strata * size * seeds)
            assert abs(found - share) < 0.03, (size, at, found)


def test_shares_are_read_exactly() -> None:
    expected = (Fraction(7, 10), Fraction(3, 20), Fraction(3, 20))
    assert read_shares((0.70, 0.15, 0.15)) == expected
    assert read_shares(("70", " 15", "15")) == expected
    assert read_shares(("1/3", "1/3", "1/3")) == (Fraction(1, 3),) * 3
    assert read_shares((Fraction(1, 2), 0.25, ".25")) == (Fraction(1, 2), *[Fraction(1, 4)] * 2)


@pytest.mark.parametrize(
    "given_shares",
    [("0.7", "0.3"), ("0.7", "0.15", "0.16"), ("1", "0", "0"), ("0.7", "-0.1", "0.4"),
     ("nan", "0.5", "0.5"), ("1e-999999999", "0.5", "0.5"), ("", "0.5", "0.5"), (".", "1", "0"),
     ("1/0", "0.5", "0.5"), ("0.5", "0.5", "0.0"), ("\u0667\u0660", "15", "15"),
     ("25", "25", "25", "25")],
)  # fmt: skip
def test_odd_shares_are_refused(given_shares: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"such as 0.70,0.15,0.15"):
        read_shares(given_shares)
