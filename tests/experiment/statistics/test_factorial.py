"""What tuning and retrieval add, and whether they add up."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS

from loragraft.errors import InputError
from loragraft.experiment.statistics.factorial import Arms, Contrast, contrasts


def of(*four: list[float]) -> Arms:
    """Return four experiments' values of questions q0, q1 ..."""
    return Arms(*({f"q{n:03d}": value for n, value in enumerate(arm)} for arm in four))


def named(found: tuple[Contrast, ...]) -> dict[str, Contrast]:
    """Return effects by name."""
    return {one.name: one for one in found}


def test_a_case_by_hand() -> None:
    # base 1/4, tuned 2/4, with retrieval 2/4 and 4/4.
    arms = of([1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1])
    found = named(contrasts(arms, {}, low=0, high=1))
    assert {name: one.value for name, one in found.items()} == {
        "tuning": 0.375,  # ((2/4 - 1/4) + (4/4 - 2/4)) / 2
        "retrieval": 0.375,
        "interaction": 0.25,  # (4/4 - 2/4) - (2/4 - 1/4)
        "tuning without retrieval": 0.25,
        "tuning with retrieval": 0.5,
        "retrieval without tuning": 0.25,
        "retrieval with tuning": 0.5,
    }
    # Contrasts of tuning by question: 0, 1/2, 1/2, 1/2; three flip, all signs alike: 2 / 8.
    assert found["tuning"].test.p == pytest.approx(0.25)
    assert found["tuning"].count == found["tuning"].papers == 4


def test_effects_agree_with_least_squares() -> None:
    generator = np.random.default_rng(5)
    four = generator.random((4, 40))
    tuned, retrieval = np.repeat([-0.5, 0.5, -0.5, 0.5], 40), np.repeat([-0.5, -0.5, 0.5, 0.5], 40)
    design = np.column_stack([np.ones(160), tuned, retrieval, tuned * retrieval])
    _, tuning, passages, both = OLS(four.ravel(), design).fit().params
    found = named(contrasts(of(*map(list, four)), {}))
    assert found["tuning"].value == pytest.approx(tuning)
    assert found["retrieval"].value == pytest.approx(passages)
    assert found["interaction"].value == pytest.approx(both)


def test_only_questions_that_all_four_have_count() -> None:
    arms = of([1, 0, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1])
    arms = Arms(arms.base, arms.tuned, arms.base_retrieval, {"q000": 1.0, "other": 0.0})
    one = contrasts(arms, {}, low=0, high=1)[0]
    assert (one.count, one.excluded) == (1, 3)
    assert contrasts(arms, {}, low=0, high=1, asked=10)[0].excluded == 9
    with pytest.raises(InputError, match="none has values of all four"):
        contrasts(Arms(arms.base, arms.tuned, {}, arms.tuned_retrieval), {})


def test_papers_are_the_units() -> None:
    four = np.random.default_rng(9).integers(0, 2, (4, 24)).astype(float)
    papers = {f"q{n:03d}": f"p{n // 8}" for n in range(24)}
    one = named(contrasts(of(*map(list, four)), papers, low=0, high=1))["interaction"]
    assert one.papers == 3
    assert one.interval.method == "t over papers"
    assert one.test.p >= 0.25


def test_what_was_not_seen_reaches_as_far_as_a_contrast_can() -> None:
    arms = of(*([[1.0] * 10] * 4))
    found = named(contrasts(arms, {}, low=0, high=1))
    share = 1 - 0.025 ** (1 / 10)
    assert found["tuning"].interval.high == pytest.approx(share)
    assert found["interaction"].interval.high == pytest.approx(2 * share)
    assert found["interaction"].interval.low == pytest.approx(-2 * share)
