"""Few made-up series of each kind; many are made by the script, for docs/statistics.md.

Bounds are binomial: by luck alone, one in a million would be outside.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from loragraft.experiment.statistics.power import design_effect, exact_power
from scripts.verdict_simulations import World, coverage, draw, equivalent, rates, values_of

RUNS = 60
LUCK = 1e-6


def at_most(rate: float, runs: int = RUNS) -> float:
    """Return the share above which so many runs show that a rate is larger."""
    return float(stats.binom.ppf(1 - LUCK, runs, rate)) / runs


def at_least(rate: float, runs: int = RUNS) -> float:
    """Return the share below which so many runs show that a rate is smaller."""
    return float(stats.binom.ppf(LUCK, runs, rate)) / runs


@pytest.mark.parametrize(
    "world",
    [
        World(150),
        World(9, 14, 0.2),
        World(12, 6, 0.5, uneven=True),
        World(9, 14, 0.2, missing=0.05),
    ],
    ids=str,
)
def test_without_an_effect_few_are_promoted(world: World) -> None:
    assert rates(world, RUNS).promote <= at_most(0.05)


def test_the_best_of_several_without_an_effect_is_seldom_promoted() -> None:
    found = rates(World(9, 14, 0.2, effects=(0.0, 0.0, 0.0)), 12)
    assert found.promote <= at_most(0.05, 12)


def test_clusters_mislead_mcnemar_and_not_the_verdict() -> None:
    found = rates(World(14, 14, 0.5), 100)
    assert found.naive > at_most(0.05, 100)
    assert found.promote <= at_most(0.05, 100)


def test_a_large_gain_is_promoted_and_a_loss_is_not() -> None:
    better = rates(World(12, 14, 0.1, effects=(0.2,), discordance=0.25), RUNS)
    assert better.promote >= at_least(0.9)
    worse = rates(World(12, 14, 0.1, effects=(-0.2,), discordance=0.25), RUNS)
    assert (worse.promote, worse.real) == (0, 0)
    assert worse.reject >= at_least(0.9)


def test_a_gain_of_five_points_exactly_is_promoted_at_most_half_of_the_time() -> None:
    found = rates(World(600, effects=(0.05,), discordance=0.1), 30)
    assert found.promote <= at_most(0.55, 30)
    assert found.real >= at_least(0.95, 30)


def test_a_gain_without_grounding_is_not_promoted() -> None:
    found = rates(World(12, 8, 0.1, effects=(0.25,), discordance=0.3, grounding=0.35), RUNS)
    assert found.promote <= at_most(0.05)


def test_power_is_what_is_said() -> None:
    world = World(150, effects=(0.1,), discordance=0.2)
    assert exact_power(150, 0.1, 0.2) == pytest.approx(0.75, abs=0.02)
    found = rates(world, RUNS).real
    assert at_least(0.74) <= found <= at_most(0.76)


@pytest.mark.parametrize("world", [World(20), World(9, 14, 0.2), World(25, 4, 0.3)], ids=str)
def test_intervals_hold_the_truth(world: World) -> None:
    held = coverage(world, 200)
    assert min(held) >= at_least(0.935, 200)


def test_what_differs_by_the_bound_is_seldom_taken_for_equivalent() -> None:
    world = World(20, 14, 0.1, effects=(0.05,), discordance=0.1)
    assert equivalent(world, 0.05, RUNS) <= at_most(0.05)
    assert equivalent(World(29, 40, 0.0, discordance=0.02), 0.05, RUNS) >= at_least(0.95)


def test_worlds_are_what_they_say() -> None:
    world = World(400, 5, 0.3, effects=(0.1,), accuracy=0.5, discordance=0.25, missing=0.1)
    generator = np.random.default_rng(1)
    drawn = draw(world, generator)
    base, mine = drawn.right
    difference = values_of(mine - base, drawn.papers)
    assert np.isnan(base).mean() == pytest.approx(0.1, abs=0.03)
    assert np.nanmean(base) == pytest.approx(0.5, abs=0.08)
    assert difference.mean == pytest.approx(0.1, abs=0.06)
    assert (difference.values != 0).mean() == pytest.approx(0.25, abs=0.06)
    # Means of 4 of 5 questions are left of a paper: 1 + (4.2 - 1) * 0.3 is about 1.95.
    assert design_effect(difference) == pytest.approx(1.95, abs=0.35)
