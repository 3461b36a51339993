"""Agreement beyond chance: worked examples of the papers, sklearn, and other ways to compute it."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.human.agreement import (
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    observed,
)

VALUES = st.sampled_from(["a", "b", "tie"])
TWO = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=40)


def test_cohens_kappa_by_hand() -> None:
    """20 and 15 of 50 the same, 5 and 10 not: p_o 0.7, p_e 0.5, so 0.4."""
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert observed(a, b) == 0.7
    assert cohen_kappa(a, b) == pytest.approx(0.4)


@given(TWO)
def test_cohens_kappa_is_sklearns(pairs: list[tuple[str, str]]) -> None:
    import warnings

    from sklearn.metrics import cohen_kappa_score

    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    ours = cohen_kappa(a, b)
    if ours is None:
        assert len({*a, *b}) == 1
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert ours == pytest.approx(float(cohen_kappa_score(a, b)), abs=1e-12)


FLEISS = [
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
]  # fmt: skip
"""Fourteen raters, ten items, five categories: a published example, whose kappa is 0.210."""


def test_fleiss_kappa_of_a_published_example() -> None:
    items = [[str(kind) for kind, n in enumerate(row) for _ in range(n)] for row in FLEISS]
    assert fleiss_kappa(items) == pytest.approx(0.210, abs=5e-4)


@given(TWO)
def test_fleiss_kappa_of_two_raters_is_scotts_pi(pairs: list[tuple[str, str]]) -> None:
    totals = Counter(value for pair in pairs for value in pair)
    chance = sum((n / (2 * len(pairs))) ** 2 for n in totals.values())
    ours = fleiss_kappa(pairs)
    if len(totals) == 1:
        assert ours is None
        return
    agreed = sum(a == b for a, b in pairs) / len(pairs)
    assert ours == pytest.approx((agreed - chance) / (1 - chance))


def test_fleiss_kappa_needs_as_many_values_for_each_item() -> None:
    with pytest.raises(ValueError, match="same number"):
        fleiss_kappa([["a", "b"], ["a"]])
    with pytest.raises(ValueError, match="two or more"):
        fleiss_kappa([["a"], ["b"]])
    assert fleiss_kappa([]) is None


RATERS = [
    "1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]  # fmt: skip
"""Four observers, twelve units, gaps: example C of Krippendorff 2011, whose alpha is 0.743."""


def test_krippendorffs_alpha_of_his_own_example() -> None:
    columns = zip(*(line.split() for line in RATERS), strict=True)
    items = [[value for value in column if value != "."] for column in columns]
    assert krippendorff_alpha(items) == pytest.approx(0.743, abs=5e-4)


@given(st.lists(st.lists(VALUES, max_size=5), max_size=20))
def test_krippendorffs_alpha_by_its_matrix_of_coincidences(items: list[list[str]]) -> None:
    matrix: Counter[tuple[str, str]] = Counter()
    for values in items:
        for a, b in permutations(values, 2):
            matrix[a, b] += 1 / (len(values) - 1)
    marginal: Counter[str] = Counter()
    for (a, _), n in matrix.items():
        marginal[a] += n
    size = sum(marginal.values())
    differing = sum(n for (a, b), n in matrix.items() if a != b)
    expected = sum(marginal[a] * marginal[b] for a, b in permutations(marginal, 2))
    ours = krippendorff_alpha(items)
    if not expected:
        assert ours is None
    else:
        assert ours == pytest.approx(1 - (size - 1) * differing / expected)


def test_where_everybody_says_the_same_chance_does_too() -> None:
    assert cohen_kappa(["a", "a"], ["a", "a"]) is None
    assert fleiss_kappa([["a", "a"], ["a", "a"]]) is None
    assert krippendorff_alpha([["a", "a"], ["a"]]) is None
    assert cohen_kappa([], []) is None
    assert observed([], []) is None
