"""How many questions would decide."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from loragraft.experiment.statistics.interval import mean_interval
from loragraft.experiment.statistics.sample import values_of
from loragraft.experiment.verdict.needed import (
    Reach,
    for_mann_whitney,
    least_for_signs,
    questions_needed,
)

TAIL = 0.025
Z = 1.959964 + 0.841621


def reach(distance: float, count: int = 400, papers: int = 400, **changes: str) -> Reach:
    return Reach(distance, TAIL, changes.get("method", "bootstrap over papers"), count, papers)  # type: ignore[arg-type]


def test_the_textbook_number_by_hand() -> None:
    """Differences of deviation 0.5 at 400 questions: n = (1.96 + 0.84)² 0.5² / 0.05² = 785."""
    bound = 1.959964 * 0.5 / math.sqrt(400)
    assert questions_needed(reach(bound), 0.05) == math.ceil((Z * 0.5 / 0.05) ** 2) == 785


def test_papers_are_in_the_bound() -> None:
    """The same questions in papers that agree have a bound twice as far: four times as many."""
    alone = questions_needed(reach(0.04), 0.05)
    bound = questions_needed(reach(0.08, papers=100), 0.05)
    assert alone is not None
    assert bound == pytest.approx(4 * alone, abs=4)


def test_so_many_questions_have_the_power_that_is_named() -> None:
    generator = np.random.default_rng(7)
    values = generator.choice([-1.0, 0.0, 1.0], 200, p=[0.1, 0.75, 0.15])
    sample = values_of({f"q{n:03d}": v for n, v in enumerate(values)}, {})
    interval = mean_interval(sample, low=-1, high=1)
    effect = 0.05
    end = sample.mean - interval.low
    needed = questions_needed(Reach(end, TAIL, interval.method, 200, 200), effect)
    assert needed is not None
    error = float(values.std(ddof=1)) / math.sqrt(needed)
    assert 1 - stats.norm.cdf(1.959964 - effect / error) == pytest.approx(0.8, abs=0.05)


def test_few_papers_need_more_than_many() -> None:
    few = questions_needed(reach(0.1, 60, 6, method="t over papers"), 0.2)
    error = 0.1 / stats.t.isf(TAIL, 5)
    least = 60 / 6 * (Z * error * math.sqrt(6) / 0.2) ** 2
    assert few is not None
    assert few > least


def test_no_spread_needs_papers_that_might_have_shown_some() -> None:
    """None of n papers differs: at most 1 - 0.025^(1/n) of all do, below 0.05 from 72 papers on."""
    for papers in (5, 40):
        distance = 1 - TAIL ** (1 / papers)
        found = questions_needed(reach(distance, papers, papers, method="no spread"), 0.05)
        assert found == 72
    in_papers = questions_needed(reach(1 - TAIL ** (1 / 5), 50, 5, method="no spread"), 0.05)
    assert in_papers == pytest.approx(720, abs=2)


@pytest.mark.parametrize(
    ("one", "effect"),
    [
        (reach(0.1), 0.0),
        (reach(0.1), 1e-17),
        (reach(0.5, 60, 1, method="one paper"), 0.1),
        (reach(math.inf), 0.1),
    ],
)
def test_no_number_where_none_can_be_had(one: Reach, effect: float) -> None:
    assert questions_needed(one, effect) is None


def test_always_more_than_there_are() -> None:
    assert questions_needed(reach(0.001), 0.9) == 401
    assert questions_needed(reach(0.0), 0.9) == 401


def test_signs_alone_need_six() -> None:
    """All of five the same: p = 2 / 32 = 0.0625; of six 0.031."""
    assert least_for_signs(100, 5, 0.05) == 120
    assert least_for_signs(100, 6, 0.05) == 100
    assert least_for_signs(100, 0, 0.05) is None


def test_mann_whitney_as_the_literature_has_it() -> None:
    """An effect of 0.3 at 80 %: 175 by Student's t, 183 by the ranks."""
    assert for_mann_whitney(0.3, 0.05) == pytest.approx(183, abs=2)
    assert for_mann_whitney(0.0, 0.05) is None
    assert for_mann_whitney(0.3, 0.0) is None
