"""Tests agree with their libraries, and do not take questions of one paper for many."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from loragraft.experiment.statistics.significance import (
    DRAWS,
    IGNORES_PAPERS,
    deciding_test,
    mann_whitney,
    mcnemar,
    paired_t,
    sign_flip,
    wilcoxon,
)
from tests.support.values import any_values, both, of_papers, on_their_own

ALL = (deciding_test, mcnemar, wilcoxon, paired_t, mann_whitney)


def enumerated(totals: list[float]) -> float:
    """Return the share of all signs that lead as far from 0, or further."""
    wanted = abs(sum(totals)) - 1e-9
    ways = itertools.product((-1, 1), repeat=len(totals))
    hits = sum(abs(sum(map(math.prod, zip(way, totals, strict=True)))) >= wanted for way in ways)
    return float(hits / 2 ** len(totals))


def test_sign_flips_by_hand() -> None:
    # 1 + 2 + 3 is reached by all signs + and all signs -: 2 of 8.
    found = sign_flip(on_their_own([1, 2, 3]))
    assert (found.p, found.statistic, found.count) == (0.25, 6, 3)
    assert found.name == "sign flips of questions, exact"


def test_papers_flip_as_a_whole() -> None:
    # Totals 3, 2 and -1: |sum| 4; the sums 6, 4, 2, 0 and their opposites: 4 of 8.
    found = sign_flip(of_papers([1, 1, 1], [1, 1], [0, -1]))
    assert (found.p, found.count, found.name) == (0.5, 3, "sign flips of papers, exact")


@pytest.mark.parametrize("seed", range(5))
def test_sign_flips_agree_with_scipy(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.3, 1, 7)
    scipys = stats.permutation_test(
        (values,), lambda x, axis: x.sum(axis), permutation_type="samples", vectorized=True
    )
    assert sign_flip(on_their_own(values.tolist())).p == pytest.approx(scipys.pvalue)


@pytest.mark.parametrize("count", [1, 5, 14])
def test_signs_are_all_tried(count: int) -> None:
    totals = np.random.default_rng(count).normal(0.3, 1, count).tolist()
    assert sign_flip(on_their_own(totals)).p == pytest.approx(enumerated(totals))


@pytest.mark.parametrize("graded", [True, False])
def test_drawn_signs_agree_with_all_signs(graded: bool) -> None:
    generator = np.random.default_rng(3)
    totals = generator.normal(0.35, 1, 15) if graded else generator.choice([1, 1, -1, 2], 15)
    wanted = enumerated(totals.tolist())
    found = sign_flip(on_their_own(totals.tolist()))
    assert found.p == pytest.approx(wanted, abs=5 * math.sqrt(wanted * (1 - wanted) / DRAWS))
    assert found.note == "20,000 draws"


def test_drawn_signs_of_equal_sizes_are_the_binomial() -> None:
    found = sign_flip(on_their_own([1.0] * 60 + [-1.0] * 40 + [0.0] * 20))
    wanted = stats.binomtest(60, 100).pvalue
    assert found.p == pytest.approx(wanted, abs=5 * math.sqrt(wanted / DRAWS))
    assert found.count == 120


def test_drawn_signs_never_say_impossible() -> None:
    assert sign_flip(on_their_own([1.0] * 5000)).p == 1 / (DRAWS + 1)
    graded = np.random.default_rng(1).uniform(0.1, 1, 2000).tolist()
    assert sign_flip(on_their_own(graded)).p == 1 / (DRAWS + 1)


def test_a_unit_that_does_not_differ_takes_no_sign() -> None:
    with_zeros = sign_flip(on_their_own([1, 2, 3, *[0.0] * 40]))
    assert (with_zeros.p, with_zeros.count) == (0.25, 43)


def test_papers_that_even_out_differ_in_nothing() -> None:
    found = sign_flip(of_papers([0.1, 0.2, -0.3], [1, -1]))
    assert (found.p, found.note) == (1, "no paper differs as a whole")
    assert sign_flip(on_their_own([0.0, 0.0])).note == "no question differs"


def test_mcnemar_by_hand() -> None:
    # 8 better, 2 worse: 2 * (1 + 10 + 45) / 1024.
    found = mcnemar(both([1] * 8 + [0] * 2 + [1] * 5, [0] * 8 + [1] * 2 + [1] * 5))
    assert (found.p, found.count, found.note) == (pytest.approx(112 / 1024), 15, "")


@pytest.mark.parametrize("seed", range(10))
def test_mcnemar_agrees_with_statsmodels(seed: int) -> None:
    mine, theirs = np.random.default_rng(seed).random((2, 40)) < [[0.6], [0.4]]
    table = [[int((m & t).sum()) for t in (theirs, ~theirs)] for m in (mine, ~mine)]
    wanted = statsmodels_mcnemar(table, exact=True).pvalue
    assert mcnemar(both(mine, theirs)).p == pytest.approx(wanted)


def test_wilcoxon_by_hand() -> None:
    # All ranks are positive: both ends of 2^3 ways.
    found = wilcoxon(both([1.1, 2.2, 3.3, 5], [1, 2, 3, 5]))
    assert (found.p, found.statistic, found.count) == (0.25, 0, 3)


def test_wilcoxons_ties_agree_with_scipy() -> None:
    differences = [0.1, 0.1, -0.1, 0.2, 0.2, 0.3, -0.3, 0.5]
    found = wilcoxon(both(differences, [0.0] * 8))
    wanted = stats.wilcoxon(differences, method=stats.PermutationMethod())
    assert (found.p, found.statistic) == (pytest.approx(wanted.pvalue), wanted.statistic)


@pytest.mark.parametrize("count", [10, 14, 15, 80])
def test_wilcoxon_agrees_with_scipy(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.2, 1, count)
    found, wanted = wilcoxon(both(differences, [0.0] * count)), stats.wilcoxon(differences)
    assert (found.p, found.statistic) == pytest.approx((wanted.pvalue, wanted.statistic))


def test_students_t_by_hand() -> None:
    # Mean 2, error 1/√3: t = 2√3 with 2 degrees of freedom, p = 0.074180.
    found = paired_t(both([1, 2, 3], [0, 0, 0]))
    assert found.statistic == pytest.approx(2 * math.sqrt(3))
    assert found.p == pytest.approx(0.074180, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_graded_tests_agree_with_scipy(seed: int) -> None:
    mine, theirs = np.random.default_rng(seed).normal(0, 1, (2, 30))
    pair = both(mine.tolist(), theirs.tolist())
    assert wilcoxon(pair).p == pytest.approx(stats.wilcoxon(mine, theirs).pvalue)
    assert paired_t(pair).p == pytest.approx(stats.ttest_rel(mine, theirs).pvalue)
    above = (mine[:, None] > theirs).sum()
    assert mann_whitney(pair).statistic == above
    assert mann_whitney(pair).p == pytest.approx(stats.mannwhitneyu(mine, theirs).pvalue)


def test_mann_whitney_by_hand() -> None:
    # None of 3 exceeds any of 3 others: 2 of the 20 ways to choose 3 of 6.
    found = mann_whitney(both([1, 2, 3], [4, 5, 6]))
    assert (found.p, found.statistic) == (pytest.approx(0.1), 0)
    assert "independent" in found.note


@pytest.mark.parametrize(
    ("mine", "size", "name"),
    [
        ([1.0, 0, 1, 1], 1, "exact McNemar"),
        ([1.0, 0, 1, 1], 2, "sign flips of papers, exact"),
        ([0.5, 0, 1, 1], 1, "sign flips of questions, exact"),
        ([0.5, 0, 1, 1], 2, "sign flips of papers, exact"),
    ],
)
def test_papers_and_values_choose_the_test(mine: list[float], size: int, name: str) -> None:
    assert deciding_test(both(mine, [0.0] * 4, size)).name == name


def test_tests_that_ignore_papers_say_so() -> None:
    pair = both([1.0, 0, 1, 1], [0.0] * 4, 2)
    for test in (mcnemar, wilcoxon, paired_t):
        assert test(pair).note == IGNORES_PAPERS


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_experiments_that_say_the_same_do_not_differ(value: float, count: int) -> None:
    pair = both([value] * count, [value] * count)
    assert [test(pair).p for test in ALL] == [1] * len(ALL)


def test_differences_that_are_all_the_same_have_no_t() -> None:
    found = paired_t(both([0.3] * 9, [0.1] * 9))
    assert (found.p, found.statistic) == (1, None)
    assert "all differences are the same" in found.note


@settings(max_examples=40)
@given(any_values())
def test_p_is_always_a_chance(drawn: tuple[list[float], int]) -> None:
    mine, size = drawn
    theirs = mine[1:] + mine[:1]
    for test in ALL:
        there, back = test(both(mine, theirs, size)), test(both(theirs, mine, size))
        assert 0 < there.p <= 1
        assert there.p == pytest.approx(back.p, abs=0.02)


def test_the_smallest_number_that_there_is_changes_no_test() -> None:
    mine, theirs = [2.225073858507203e-309, 1.0, 0.0], [1.0, 0.0, 2.225073858507203e-309]
    for test in ALL:
        assert 0 < test(both(mine, theirs)).p <= 1


def test_papers_hold_what_questions_overstate() -> None:
    # Papers of 14 questions that are better or worse as a whole by chance: 300 runs without an
    # effect. 5 % and five standard errors are 11.3 %; the paired t errs far more often.
    generator = np.random.default_rng(7)
    by_paper = by_question = 0
    for _ in range(300):
        shift = np.repeat(generator.normal(0, 0.2, 12), 14)
        mine = (shift + generator.normal(0, 0.4, 168)).tolist()
        pair = both(mine, [0.0] * 168, 14)
        by_paper += deciding_test(pair).p < 0.05
        by_question += paired_t(pair).p < 0.05
    assert by_paper <= 0.113 * 300 < by_question
