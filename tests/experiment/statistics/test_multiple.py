"""p values among others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.experiment.statistics.multiple import benjamini_hochberg, holm

CHANCES = st.lists(st.floats(0, 1), max_size=8)


def test_holm_by_hand() -> None:
    # In order: 3 * 0.01, 2 * 0.03, and 0.04, which may not be below the one before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))


def test_benjamini_hochberg_by_hand() -> None:
    # From the last: 0.04, 3/2 * 0.03 = 0.045 and so 0.04, 3 * 0.01.
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.04, 0.04))


def test_none_and_one_stay_as_they_are() -> None:
    assert holm([]) == benjamini_hochberg([]) == ()
    assert holm([0.2]) == benjamini_hochberg([0.2]) == (0.2,)


@settings(max_examples=10)
@given(CHANCES)
def test_holm_is_its_definition(p: list[float]) -> None:
    count, order = len(p), sorted(range(len(p)), key=lambda place: p[place])
    wanted, so_far = [0.0] * count, 0.0
    for rank, place in enumerate(order):
        so_far = max(so_far, min(1.0, (count - rank) * p[place]))
        wanted[place] = so_far
    assert holm(p) == pytest.approx(tuple(wanted))


@settings(max_examples=10)
@given(CHANCES)
def test_benjamini_hochberg_is_its_definition(p: list[float]) -> None:
    count, order = len(p), sorted(range(len(p)), key=lambda place: -p[place])
    wanted, so_far = [0.0] * count, 1.0
    for rank, place in enumerate(order):
        so_far = min(so_far, count / (count - rank) * p[place])
        wanted[place] = so_far
    assert benjamini_hochberg(p) == pytest.approx(tuple(wanted))
