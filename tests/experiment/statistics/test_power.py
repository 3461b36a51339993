"""Questions that an effect needs, and effects that questions can show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower, zt_ind_solve_power

from loragraft.errors import InputError
from loragraft.experiment.statistics.power import (
    design_effect,
    detectable,
    exact_power,
    fewest,
    questions_for,
)
from loragraft.experiment.statistics.sample import Values


def of_papers(groups: Sequence[Sequence[float]]) -> Values:
    """Return values by papers."""
    values = [value for group in groups for value in group]
    papers = [number for number, group in enumerate(groups) for _ in group]
    ids = tuple(f"q{number:04d}" for number in range(len(values)))
    return Values(ids, np.array(values, np.float64), np.array(papers, np.int64))


@pytest.mark.parametrize(("discordance", "count"), [(0.1, 307), (0.2, 621), (0.3, 935)])
def test_five_points_by_discordance(discordance: float, count: int) -> None:
    # 0.1: (1.95996 + 0.84162)² * (0.1 - 0.0025) / 0.0025 = 7.84888 * 39 = 306.1
    assert questions_for(0.05, discordance=discordance) == count
    assert questions_for(-0.05, discordance=discordance) == count


@pytest.mark.parametrize(("discordance", "low", "high"), [(0.1, 0.07, 0.08), (0.3, 0.12, 0.125)])
def test_a_hundred_and_fifty_questions_see_seven_to_twelve_points(
    discordance: float, low: float, high: float
) -> None:
    found = detectable(150, discordance=discordance)
    assert found is not None
    assert low < found < high


@pytest.mark.parametrize(
    ("effect", "deviation", "power", "alpha"),
    [(0.05, 0.4, 0.8, 0.05), (0.02, 1.7, 0.9, 0.01), (0.3, 1.1, 0.7, 0.1)],
)
def test_many_graded_questions_agree_with_statsmodels(
    effect: float, deviation: float, power: float, alpha: float
) -> None:
    count = questions_for(effect, deviation=deviation, power=power, alpha=alpha)
    # Two samples with ratio 0 are one: the second has no variance left to add.
    wanted = zt_ind_solve_power(effect / deviation, None, alpha, power, ratio=0)
    assert count == pytest.approx(wanted, abs=1.0001)


@pytest.mark.parametrize("size", [0.7, 1.0, 1.5])
def test_few_questions_are_near_to_the_noncentral_t(size: float) -> None:
    count = questions_for(size, deviation=1.0)
    assert 6 <= count < 30
    assert TTestPower().power(size, count, 0.05) == pytest.approx(0.8, abs=0.09)
    assert TTestPower().power(size, count, 0.05) >= 0.78


def test_papers_come_in_with_their_design_effect_and_t() -> None:
    plain = questions_for(0.05, discordance=0.2)
    clustered = questions_for(0.05, discordance=0.2, design=3.6, per_paper=14)
    assert clustered == pytest.approx(3.6 * plain, abs=4)
    few = questions_for(0.2, discordance=0.3, design=3.6, per_paper=14)
    papers = few / 14
    assert papers == int(papers) < 30
    factor = stats.t.ppf(0.975, papers - 1) + stats.t.ppf(0.8, papers - 1)
    assert factor**2 * 3.6 * (0.3 - 0.04) / 0.04 <= few
    assert few > 7.849 * 3.6 * (0.3 - 0.04) / 0.04


@settings(max_examples=40)
@given(
    st.integers(30, 5000), st.floats(0.02, 1.0), st.floats(1.0, 5.0), st.sampled_from([1, 2])
)  # fmt: skip
def test_what_can_be_shown_needs_just_so_many_questions(
    count: int, discordance: float, design: float, sides: int
) -> None:
    effect = detectable(count, discordance=discordance, design=design, sides=sides)
    assert effect is not None
    assert 0 < effect < 1
    back = questions_for(effect, discordance=discordance, design=design, sides=sides)
    assert back == pytest.approx(count, abs=1)


def test_nothing_is_shown_by_five_papers_nor_by_an_effect_of_nothing() -> None:
    assert fewest() == 6
    assert fewest(0.05, 1) == 5
    assert 2 / 2 ** fewest(0.001) <= 0.001 < 2 / 2 ** (fewest(0.001) - 1)
    assert detectable(5, discordance=0.2) is None
    assert detectable(700, discordance=0.2, papers=5) is None
    assert detectable(700, discordance=0.2, papers=6) is not None
    with pytest.raises(InputError, match="No number of questions"):
        questions_for(0.0, discordance=0.2)
    with pytest.raises(InputError, match="No number of questions"):
        questions_for(math.nan, discordance=0.2)


def test_all_right_against_all_wrong_needs_six_questions() -> None:
    assert questions_for(1.0, discordance=1.0) == 6
    assert questions_for(1.0, deviation=0.0) == 6
    assert questions_for(0.5, discordance=0.1) >= 6  # nobody can gain more than differs


def _by_enumeration(count: int, effect: float, discordance: float) -> float:
    """Return the power of exact McNemar by going through all pairs of counts."""
    better, worse = (discordance + effect) / 2, (discordance - effect) / 2
    total = 0.0
    for pairs in range(1, count + 1):
        shown = [n for n in range(pairs + 1) if stats.binomtest(n, pairs).pvalue <= 0.05]
        ways = sum(math.comb(pairs, n) * better**n * worse ** (pairs - n) for n in shown)
        total += math.comb(count, pairs) * (1 - discordance) ** (count - pairs) * ways
    return total


@pytest.mark.parametrize(("count", "effect", "discordance"), [(14, 0.4, 0.5), (25, 0.3, 0.4)])
def test_exact_power_agrees_with_all_cases_gone_through(
    count: int, effect: float, discordance: float
) -> None:
    wanted = _by_enumeration(count, effect, discordance)
    assert exact_power(count, effect, discordance) == pytest.approx(wanted, abs=1e-9)
    assert exact_power(count, -effect, discordance) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("discordance", "low", "high"), [(0.1, 0.75, 0.76), (0.3, 0.78, 0.79)])
def test_the_formula_flatters_exact_mcnemar_and_exact_counts_do_not(
    discordance: float, low: float, high: float
) -> None:
    formula = questions_for(0.05, discordance=discordance)
    assert low < exact_power(formula, 0.05, discordance) < high
    exact = questions_for(0.05, discordance=discordance, exact=True)
    assert exact_power(exact - 1, 0.05, discordance) < 0.8 <= exact_power(exact, 0.05, discordance)
    assert formula < exact < 1.12 * formula


def test_exact_power_without_effect_is_below_alpha_and_far_counts_are_quick() -> None:
    assert 0 < exact_power(200, 0.0, 0.2) < 0.05
    assert exact_power(3, 0.2, 0.3) == exact_power(300, 0.0, 0.0) == 0
    assert questions_for(0.001, discordance=0.2, exact=True) == pytest.approx(1_569_769, abs=9)


def test_a_design_effect_by_hand() -> None:
    # Papers (1, 1), (0, 0), (1, 0): mean 1/2; between (2/4 + 2/4 + 0) / 2 = 1/2; within 1/2 / 3 =
    # 1/6; ICC (1/2 - 1/6) / (1/2 + 1/6) = 1/2; 1 + (2 - 1) / 2.
    assert design_effect(of_papers([[1, 1], [0, 0], [1, 0]])) == pytest.approx(1.5)
    assert design_effect(of_papers([[1, 1], [0, 0]])) == pytest.approx(2.0)
    assert design_effect(of_papers([[1, 0], [0, 1]])) == 1.0


def test_a_design_effect_where_there_is_nothing_to_see() -> None:
    assert design_effect(of_papers([])) == 1.0
    assert design_effect(of_papers([[0.3]])) == 1.0
    assert design_effect(of_papers([[0.3], [0.4], [0.9]])) == 1.0
    assert design_effect(of_papers([[1, 1, 1], [1]])) == 1.0
    assert design_effect(of_papers([[1, 0, 1]])) == 3.0


def test_a_design_effect_of_equal_papers_agrees_with_the_textbook() -> None:
    generator = np.random.default_rng(4)
    groups = generator.normal(size=(12, 1)) + generator.normal(size=(12, 5))
    between = 5 * groups.mean(axis=1).var(ddof=1)
    within = groups.var(axis=1, ddof=1).mean()
    wanted = 1 + 4 * (between - within) / (between + 4 * within)
    assert design_effect(of_papers(groups.tolist())) == pytest.approx(wanted)


@settings(max_examples=40)
@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=6), max_size=8))
def test_a_design_effect_lies_between_one_and_the_weighted_size(groups: list[list[float]]) -> None:
    values = of_papers(groups)
    found = design_effect(values)
    assert 1.0 <= found <= max(1.0, max(map(len, groups), default=1) + 1e-9)
