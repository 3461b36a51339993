"""Effects are what their definitions say, and none where there is no spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from statsmodels.stats.weightstats import ttest_ind

from loragraft.experiment.statistics.effect import cohens_d, d_z, flips, relative
from tests.support.values import any_values, both, on_their_own


def test_effects_by_hand() -> None:
    # 2, 4, 6 and 1, 3, 5: means 4 and 3, deviation 2 each; the differences are all 1.
    pair = both([2, 4, 6], [1, 3, 5])
    assert cohens_d(pair) == pytest.approx(0.5)
    assert relative(pair) == pytest.approx(1 / 3)
    assert d_z(pair.difference) is None
    assert d_z(on_their_own([1, 2, 3])) == pytest.approx(2)


@pytest.mark.parametrize("seed", range(5))
def test_cohens_d_is_in_the_t_of_two_samples(seed: int) -> None:
    mine, theirs = np.random.default_rng(seed).normal(0, 1, (2, 25))
    t = ttest_ind(mine, theirs)[0]
    assert cohens_d(both(mine.tolist(), theirs.tolist())) == pytest.approx(t * math.sqrt(2 / 25))


def test_flips_follow_what_is_better() -> None:
    pair = both([1, 1, 0, 0.5], [0, 0, 1, 0.5])
    assert flips(pair) == (2, 1)
    assert flips(pair, "lower") == (1, 2)


def test_rounding_flips_nothing() -> None:
    assert flips(both([0.1 + 0.2, 1], [0.3, 1])) == (0, 0)


def test_effects_that_cannot_be_had_are_none() -> None:
    assert cohens_d(both([1, 1], [0, 0])) is None
    assert cohens_d(both([1], [0])) is None
    assert relative(both([1, 1], [0, 0])) is None
    assert d_z(on_their_own([0.1] * 10)) is None
    assert d_z(on_their_own([1])) is None


def test_one_without_spread_still_has_an_effect() -> None:
    # Deviations 1 and 0: pooled √(1/2).
    assert cohens_d(both([0, 1, 2], [0, 0, 0])) == pytest.approx(math.sqrt(2))


def test_relative_keeps_its_sign_where_the_other_is_negative() -> None:
    assert relative(both([-1, -1], [-2, -2])) == pytest.approx(0.5)


@given(any_values())
def test_effects_are_finite_and_turn_round(drawn: tuple[list[float], int]) -> None:
    mine, size = drawn
    theirs = [*mine[1:], 0.25]
    there, back = both(mine, theirs, size), both(theirs, mine, size)
    assert flips(there) == flips(back)[::-1]
    for one, other in [(cohens_d(there), cohens_d(back)),
                       (d_z(there.difference), d_z(back.difference))]:  # fmt: skip
        if one is None or other is None:
            assert one is other
        else:
            assert math.isfinite(one)
            assert one == pytest.approx(-other)
