"""A comparison holds every figure that a verdict and a reader need."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from loragraft.artifact.metadata import plain
from loragraft.errors import InputError
from loragraft.experiment.analysis.comparing import adjust, compare_paired, smallest_visible
from loragraft.experiment.analysis.model import Comparison, Family
from loragraft.experiment.statistics.sample import Paired, paired
from tests.support.values import any_values, both, of_papers, on_their_own


def compared(pair: Paired, family: Family = "exploratory") -> Comparison:
    """Return the comparison of two experiments by a share."""
    return compare_paired(
        pair, metric="factuality", names=("tuned", "base"), family=family, low=0, high=1
    )


def test_right_and_wrong_by_hand() -> None:
    # Of 20 questions, 9 become right and 1 wrong: +8/20; McNemar 2 * (1 + 10) / 1024.
    found = compared(both([1] * 9 + [0] + [1] * 10, [0] * 9 + [1] + [1] * 10))
    assert (found.value, found.baseline_value) == (0.95, 0.55)
    assert found.difference == pytest.approx(0.4)
    assert (found.better, found.worse, found.count, found.papers) == (9, 1, 20, 20)
    assert (found.test.name, found.test.p) == ("exact McNemar", pytest.approx(22 / 1024))
    assert found.adjusted == found.test.p
    assert [test.name for test in found.others] == ["paired t"]
    # Deviation of the differences: √((10 - 20 * 0.16) / 19) = 0.598243.
    assert found.d_z == pytest.approx(0.4 / 0.598243, abs=1e-5)
    half = 2.093024 * 0.598243 / math.sqrt(20)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.4 - half, 0.4 + half))
    assert found.protocol.relative == pytest.approx(8 / 11)


def test_papers_decide_where_they_have_several_questions() -> None:
    found = compared(both([1, 1, 0, 1, 1, 1], [0, 1, 0, 0, 1, 1], 2))
    assert (found.test.name, found.papers) == ("sign flips of papers, exact", 3)
    assert [test.name for test in found.others] == ["exact McNemar", "paired t"]
    graded = compared(both([0.5, 1, 0, 1], [0.0] * 4))
    assert [test.name for test in graded.others] == ["Wilcoxon signed rank", "paired t"]


def test_a_difference_may_reach_as_far_as_its_metric() -> None:
    found = compared(both([1, 1], [1, 1]))
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.841886, 0.841886))
    assert found.smallest is None
    alone = compared(both([1, 0], [1, 1], 2))
    assert (alone.interval.low, alone.interval.high) == (-1, 1)


def test_seconds_have_no_ends() -> None:
    pair = both([2.0, 3.5, 4.0], [1.0, 1.5, 1.0])
    found = compare_paired(
        pair, metric="first_token_seconds", names=("tuned", "base"), better="lower"
    )
    assert (found.better, found.worse) == (0, 3)
    assert found.difference == pytest.approx(2)


def test_what_one_side_lacks_is_counted() -> None:
    found = compared(paired({"a": 1, "b": 0}, {"a": 0}, {}, asked=5))
    assert (found.count, found.excluded) == (1, 4)


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(InputError, match="'tuned' and 'base' share no question"):
        compared(paired({"a": 1}, {"b": 0}, {}))


def test_p_is_corrected_within_its_family() -> None:
    # p = 2 / 2^n of n questions that all become right: 0.03125, 0.0625, 0.5; and 0.015625.
    pairs = {count: both([1] * count + [0] * 5, [0] * (count + 5)) for count in (6, 5, 2, 7)}
    gating = [compared(pairs[count], "gating") for count in (6, 5, 7)]
    looked = [compared(pairs[count]) for count in (2, 6)]
    found = adjust([gating[0], looked[0], gating[1], looked[1], gating[2]])
    holm = (2 * 0.03125, 0.0625, 3 * 0.015625)
    hochberg = (0.5, 2 * 0.03125)
    assert [one.adjusted for one in found] == pytest.approx(
        [holm[0], hochberg[0], holm[1], hochberg[1], holm[2]]
    )
    assert [one.test for one in found] == [
        one.test for one in (gating[0], looked[0], gating[1], looked[1], gating[2])
    ]
    assert adjust([]) == ()


def test_the_smallest_visible_difference_is_found_in_four_of_five_runs() -> None:
    # 400 samples of 20 papers with that very effect: 80 %, and five standard errors either way.
    generator = np.random.default_rng(4)
    error = 0.5 / math.sqrt(20)
    effect = float(stats.t.ppf([0.975, 0.8], 19).sum()) * error
    samples = generator.normal(effect, 0.5, (400, 20))
    found = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean()
    assert 0.7 < found < 0.9
    visible = [smallest_visible(on_their_own(sample.tolist())) for sample in samples[:50]]
    assert np.mean([one for one in visible if one is not None]) == pytest.approx(effect, rel=0.1)


def test_papers_that_agree_within_make_less_visible() -> None:
    apart = smallest_visible(on_their_own([0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]))
    together = smallest_visible(of_papers([0, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1]))
    assert apart is not None
    assert together is not None
    assert together > 1.5 * apart
    assert smallest_visible(of_papers([0, 1])) is None


def test_thousands_of_graded_questions_are_compared() -> None:
    mine, theirs = np.random.default_rng(1).random((2, 5000))
    found = compared(both((mine * 0.9 + 0.1).tolist(), theirs.tolist()))
    assert found.count == found.papers == 5000
    assert found.interval.low < found.difference < found.interval.high
    assert found.test.p < 0.001


@settings(max_examples=40)
@given(any_values(few=1))
def test_every_figure_is_finite(drawn: tuple[list[float], int]) -> None:
    mine, size = drawn
    found = compared(both(mine, mine[::-1], size))
    (again,) = adjust([found])
    assert json.dumps(plain(dataclasses.asdict(again)), allow_nan=False)
    assert -1 <= found.interval.low <= found.interval.high <= 1
    assert found.better + found.worse <= found.count
