"""What surely differs by little is equivalent; what was merely not seen to differ is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from loragraft.errors import InputError
from loragraft.experiment.statistics.equivalence import equivalence, tost_p
from loragraft.experiment.statistics.sample import Paired, paired


def of(mine: Sequence[float], theirs: Sequence[float], size: int = 1) -> Paired:
    """Return two experiments' values, so many questions a paper."""
    names = [f"q{number:04d}" for number in range(len(mine))]
    return paired(
        dict(zip(names, mine, strict=True)),
        dict(zip(names, theirs, strict=True)),
        {name: f"p{number // size}" for number, name in enumerate(names)},
    )


def test_a_case_by_hand() -> None:
    # Differences 0.1, -0.1, 0.1, -0.1, 0: mean 0, deviation 0.1, error 0.1 / √5 = 0.0447;
    # 0.1 / 0.0447 = 2.236 with 4 degrees of freedom: p = 0.0445.
    found = equivalence(of([0.6, 0.4, 0.6, 0.4, 0.5], [0.5] * 5), 0.1, low=0, high=1)
    assert found.p == pytest.approx(0.0445, abs=5e-5)
    assert found.equivalent
    assert found.upper == pytest.approx(2.1318 * 0.044721, abs=1e-4)
    assert found.value == pytest.approx(0)
    assert not equivalence(of([0.6, 0.4, 0.6, 0.4, 0.5], [0.5] * 5), 0.09, low=0, high=1).equivalent


@pytest.mark.parametrize("seed", range(5))
def test_questions_of_their_own_agree_with_statsmodels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mine, theirs = generator.random((2, 12)) * 0.4 + 0.3
    wanted = ttost_paired(mine, theirs, -0.2, 0.2)[0]
    found = equivalence(of(mine, theirs), 0.2, low=0, high=1)
    assert found.p == pytest.approx(wanted)
    assert found.equivalent == (wanted < 0.05)


def test_papers_of_one_size_are_their_means() -> None:
    generator = np.random.default_rng(3)
    mine, theirs = generator.random((2, 40))
    means = (mine - theirs).reshape(10, 4).mean(axis=1)
    wanted = ttost_paired(means, np.zeros(10), -0.15, 0.15)[0]
    assert tost_p(of(mine, theirs, 4).difference, 0.15, span=1.0) == pytest.approx(wanted)


def test_answers_that_are_all_the_same_are_equivalent_only_if_they_are_many() -> None:
    # Of n papers none differs: up to 1 - 0.05^(1/n) of others may, with 95 % certainty.
    few, many = (of([1.0] * count, [1.0] * count) for count in (50, 60))
    assert 1 - 0.05 ** (1 / 50) > 0.05 > 1 - 0.05 ** (1 / 60)
    assert not equivalence(few, 0.05, low=0, high=1).equivalent
    found = equivalence(many, 0.05, low=0, high=1)
    assert found.equivalent
    assert found.p == pytest.approx(0.95**60)
    assert found.different.p == 1.0
    assert tost_p(many.difference, 0.05) == 1.0


def test_a_shift_of_all_by_the_same_is_measured_against_its_nearer_bound() -> None:
    shifted = of([0.53] * 80, [0.5] * 80)
    found = equivalence(shifted, 0.05, low=0, high=1)
    assert found.p == pytest.approx((1 - 0.02 / 0.97) ** 80)
    assert found.equivalent == (found.p < 0.05) == (found.upper < 0.05)
    assert equivalence(of([1.0] * 9, [0.0] * 9), 0.5, low=0, high=1).p == 1.0


def test_one_paper_and_few_questions_show_no_equivalence() -> None:
    assert not equivalence(of([1.0] * 30, [1.0] * 30, 30), 0.05, low=0, high=1).equivalent
    noisy = equivalence(of([1, 0, 1, 0], [0, 1, 1, 0]), 0.05, low=0, high=1)
    assert not noisy.equivalent
    assert noisy.different.p > 0.5


def test_a_difference_can_be_real_and_small() -> None:
    generator = np.random.default_rng(0)
    theirs = generator.random(400) * 0.5
    mine = theirs + 0.01 + generator.normal(size=400) * 0.05
    found = equivalence(of(mine, theirs), 0.05)
    assert found.equivalent
    assert found.different.p < 0.001
    assert -0.05 < found.lower < found.value < found.upper < 0.05


@pytest.mark.parametrize("bound", [0.0, -0.1, float("nan"), float("inf")])
def test_a_bound_that_is_none_is_refused(bound: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        equivalence(of([1, 0], [0, 1]), bound)


def test_at_the_bound_five_percent_are_taken_for_equivalent() -> None:
    generator = np.random.default_rng(20251101)
    rounds, papers, size = 400, 12, 5
    hits = 0
    for _ in range(rounds):
        shift = generator.normal(0.1, 0.12, (papers, 1))
        values = (shift + generator.normal(0, 0.2, (papers, size))).ravel()
        hits += tost_p(of(values, np.zeros(papers * size), size).difference, 0.1) < 0.05
    assert hits <= stats.binom.ppf(1 - 1e-6, rounds, 0.05)
    assert hits >= stats.binom.ppf(1e-6, rounds, 0.05)
