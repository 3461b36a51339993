"""Intervals hold for few papers, for uneven ones and for values without spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from loragraft.errors import InputError
from loragraft.experiment.statistics.interval import (
    mean_interval,
    one_sided,
    papers_apart,
    standard_error,
    without_spread,
)
from tests.support.values import any_values, both, clustered, of_papers, on_their_own


def test_students_interval_by_hand() -> None:
    # 1, 2, 3: mean 2, deviation 1, error 1/√3; t of 2 degrees of freedom at 97.5 % is 4.302653.
    found = mean_interval(on_their_own([1, 2, 3]), low=-10, high=10)
    assert (found.low, found.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    assert found.method == "t over papers"
    assert found.level == 0.95


def test_error_of_uneven_papers_by_hand() -> None:
    # Papers 1, 1 and 0: mean 2/3; without the one 0, without the other 1: they lie 2/3 and 1/3 off.
    # The jackknife: (4/9 + 1/9) * 1/2 = 5/18.
    assert standard_error(of_papers([1, 1], [0])) == pytest.approx(math.sqrt(5 / 18))
    assert standard_error(of_papers([1, 0])) == math.inf


@pytest.mark.parametrize("seed", range(5))
def test_papers_of_one_size_are_taken_by_their_means(seed: int) -> None:
    means = np.random.default_rng(seed).random((12, 5))
    found = mean_interval(of_papers(*means.tolist()), low=0, high=1)
    wanted = stats.ttest_1samp(means.mean(axis=1), 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(wanted))


@pytest.mark.parametrize("seed", range(5))
def test_the_error_is_that_of_leaving_out_each_paper(seed: int) -> None:
    values = clustered(np.random.default_rng(seed), 9)
    without = [values.values[values.papers != paper].mean() for paper in range(9)]
    wanted = sum((mean - values.mean) ** 2 for mean in without) * 8 / 9
    assert standard_error(values) == pytest.approx(math.sqrt(wanted))


@pytest.mark.parametrize("papers", [30, 90])
def test_the_bootstrap_agrees_with_scipy(papers: int) -> None:
    values = clustered(np.random.default_rng(papers), papers)
    found = mean_interval(values, low=0, high=1)
    tail = stats.norm.cdf(math.sqrt(papers / (papers - 1)) * stats.t.ppf(0.025, papers - 1))
    scipys = stats.bootstrap(
        values.totals(),
        lambda sums, sizes, axis: sums.sum(axis) / sizes.sum(axis),
        paired=True,
        vectorized=True,
        confidence_level=1 - 2 * tail,
        method="percentile",
        n_resamples=5000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    # An end's own deviation is 2 % of half the width, twice drawn 3 %: four of these.
    within = 0.12 * (found.high - found.low) / 2
    assert found.method == "bootstrap over papers"
    assert (found.low, found.high) == pytest.approx((scipys.low, scipys.high), abs=within)


def test_the_bootstrap_of_right_and_wrong_is_the_binomial() -> None:
    found = mean_interval(on_their_own([1] * 60 + [0] * 40), low=0, high=1)
    tail = stats.norm.cdf(math.sqrt(100 / 99) * stats.t.ppf(0.025, 99))
    wanted = stats.binom.ppf([tail, 1 - tail], 100, 0.6) / 100
    assert (found.low, found.high) == pytest.approx(tuple(wanted), abs=0.011)


def test_the_same_values_get_the_same_interval() -> None:
    values = clustered(np.random.default_rng(2), 50)
    assert mean_interval(values, low=0, high=1) == mean_interval(values, low=0, high=1)
    assert mean_interval(values) != mean_interval(values, seed=5)


@pytest.mark.parametrize("papers", [2, 14, 29, 30, 200])
@pytest.mark.parametrize("size", [1, 3])
def test_without_spread_only_the_number_of_papers_counts(papers: int, size: int) -> None:
    values = of_papers(*[[1.0] * size] * papers)
    found = mean_interval(values, low=0, high=1)
    wanted = proportion_confint(papers, papers, 0.05, method="beta")[0]
    assert found.low == pytest.approx(wanted)
    assert found.low == pytest.approx(0.025 ** (1 / papers))
    assert (found.high, found.method) == (1, "no spread")
    assert one_sided(values, low=0, high=1) == pytest.approx((0.05 ** (1 / papers), 1))


def test_a_difference_without_spread_reaches_both_ways() -> None:
    # Each of 2 papers is 0.5 better: all others may be 1 better, or 1 worse; 1 - √0.025 = 0.841886.
    found = mean_interval(on_their_own([0.5, 0.5]), low=-1, high=1)
    assert (found.low, found.high) == pytest.approx((0.5 - 0.841886 * 1.5, 0.5 + 0.841886 * 0.5))


def test_rounding_is_no_spread() -> None:
    values = on_their_own([0.1 + 0.2, 0.3, 0.3])
    assert without_spread(values, 1)
    assert mean_interval(values, low=0, high=1).method == "no spread"


def test_few_papers_apart_bound_no_better_than_none() -> None:
    none, one, four, five = (
        mean_interval(on_their_own([1.0] * (60 - wrong) + [0.0] * wrong), low=0, high=1)
        for wrong in (0, 1, 4, 5)
    )
    assert none.low > one.low > four.low > five.low
    # 59 of 60: 59/60 * 0.025^(1/60).
    assert one.low == pytest.approx(59 / 60 * 0.025 ** (1 / 60))
    assert papers_apart(on_their_own([1.0] * 56 + [0.0] * 4)) == 4


def test_one_paper_says_nothing_of_others() -> None:
    found = mean_interval(of_papers([0, 1, 1]), low=-1, high=1)
    assert (found.low, found.high, found.method) == (-1, 1, "one paper")
    assert one_sided(of_papers([0.5]), low=0, high=1) == (0, 1)


def test_without_possible_ends_the_observed_ones_stand() -> None:
    found = mean_interval(of_papers([2.5, 7.0]))
    assert (found.low, found.high) == (2.5, 7.0)
    alike = mean_interval(on_their_own([3.0] * 5))
    assert (alike.low, alike.high, alike.method) == (3, 3, "no spread")


def test_what_was_observed_is_possible() -> None:
    # A metric that says it ends at 1, and does not.
    found = mean_interval(on_their_own([1.5, 1.6, 1.7]), low=0, high=1)
    assert found.low < 1.6 < found.high == 1.7


def test_one_sided_bounds_by_hand() -> None:
    # t of 2 degrees of freedom at 95 % is 2.919986.
    found = one_sided(on_their_own([1, 2, 3]), low=-10, high=10)
    assert found == pytest.approx((2 - 2.919986 / math.sqrt(3), 2 + 2.919986 / math.sqrt(3)))


def test_no_questions_are_an_error() -> None:
    with pytest.raises(InputError, match="without questions: found none"):
        mean_interval(on_their_own([]), low=0, high=1)


@settings(max_examples=50)
@given(any_values())
def test_an_interval_is_finite_and_holds_the_mean(drawn: tuple[list[float], int]) -> None:
    numbers, size = drawn
    values = both(numbers, [0.0] * len(numbers), size).difference
    for found in (mean_interval(values, low=0, high=1), mean_interval(values)):
        assert math.isfinite(found.low)
        assert math.isfinite(found.high)
        assert found.low - 1e-12 <= values.mean <= found.high + 1e-12
    known = mean_interval(values, low=0, high=1)
    assert 0 <= known.low <= known.high <= 1
    lower, upper = one_sided(values, low=0, high=1)
    assert known.low - 1e-12 <= lower <= upper <= known.high + 1e-12


@pytest.mark.parametrize("papers", [12, 30])
def test_intervals_cover_what_they_say(papers: int) -> None:
    # 200 runs: 95 % less five standard errors is 87.3 %.
    generator = np.random.default_rng(papers)
    hits = 0
    for _ in range(200):
        centres = generator.normal(0.0, 0.2, papers)
        paper = [generator.normal(c, 0.4, generator.integers(1, 8)).tolist() for c in centres]
        found = mean_interval(of_papers(*paper), low=-3, high=3)
        hits += found.low <= 0 <= found.high
    assert 0.873 * 200 <= hits <= 199
