"""Whole runs with a known effect get the verdict that they should."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from loragraft.cli.main import main
from loragraft.experiment.analysis.gather import analyse
from loragraft.experiment.analysis.model import Analysis, Comparison
from loragraft.experiment.arms.opening import Shared
from loragraft.experiment.config import load_series
from scripts.verdict_simulations import SEED, World, draw, verdicts
from tests.support.planted import BASELINE, Plan, plant

SERIES = int(os.environ.get("LORAGRAFT_PLANTED_SERIES", "3"))
"""Whole runs of each world."""
CODES = {"promote": 0, "reject": 1, "undecided": 4}


def read(path: Path) -> Analysis:
    """Return what a series means."""
    config = load_series(path)
    with Shared(config) as shared:
        return analyse(config, shared)


def gains(analysis: Analysis) -> list[Comparison]:
    """Return the comparisons that a promotion rests on."""
    return [one for one in analysis.comparisons if one.family == "gating"]


def decisions(analysis: Analysis) -> dict[str, str]:
    """Return what was decided on the candidates."""
    return {one.experiment: one.decision for one in analysis.verdicts if one.experiment != BASELINE}


def promoted(path: Path) -> str:
    """Return what ``experiment promote`` says of a series' one candidate, by word and exit code."""
    done = CliRunner().invoke(main, ["experiment", "promote", str(path), "--json"])
    told = {one["experiment"]: one["decision"] for one in json.loads(done.stdout)["verdicts"]}
    assert told.keys() == {BASELINE, "hybrid_1"}
    assert told[BASELINE] == "not a candidate"
    assert done.exit_code == CODES[told["hybrid_1"]]
    return str(told["hybrid_1"])


def test_what_was_planted_is_what_is_measured(tmp_path: Path, static_folder: Path) -> None:
    plan = Plan(World(60, effects=(0.1,), missing=0.05), seed=3, grounded=0.6)
    analysis = read(plant(tmp_path, plan, static_folder))
    drawn = draw(plan.world, np.random.default_rng([SEED, plan.seed]))
    figures = {(one.experiment, one.metric): one for one in analysis.figures}
    for name, right in zip(plan.names, drawn.right, strict=True):
        figure = figures[name, "factuality"]
        assert figure.value == pytest.approx(np.nanmean(right))
        assert figure.missing == {"timeout": int(np.isnan(right).sum())}
    both = ~np.isnan(drawn.right).any(axis=0)
    (gain,) = gains(analysis)
    assert (gain.count, gain.excluded) == (both.sum(), (~both).sum())
    assert gain.difference == pytest.approx(np.diff(drawn.right[:, both].mean(axis=1))[0])
    assert figures["hybrid_1", "grounding_coverage"].value == pytest.approx(0.6, abs=0.2)
    shuffled = [one for one in analysis.controls if one.name == "shuffled passages"]
    assert shuffled
    assert {one.passed for one in shuffled} == {True}


@pytest.mark.parametrize(
    ("plan", "decision"),
    [
        pytest.param(Plan(World(100, effects=(-0.2,))), "reject", id="worse"),
        pytest.param(Plan(World(100, effects=(0.2,))), "promote", id="better"),
        pytest.param(Plan(World(100, effects=(0.2,)), grounded=0.15), "reject", id="groundless"),
        pytest.param(
            Plan(World(100, effects=(0.2,), missing=0.04)), "promote", id="4 % of answers missing"
        ),
        pytest.param(
            Plan(World(100, effects=(0.2,), missing=0.15), lost="refused"), "undecided",
            id="15 % of answers refused"
        ),
    ],
)  # fmt: skip
def test_verdicts_of_planted_effects(
    plan: Plan, decision: str, tmp_path: Path, static_folder: Path
) -> None:
    assert promoted(plant(tmp_path, plan, static_folder)) == decision


CLUSTERED = World(20, 7, 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        World(150),
        World(150, effects=(0.05,)),
        World(150, effects=(0.1,)),
        World(656, effects=(0.05,)),
        CLUSTERED,
        replace(CLUSTERED, effects=(0.05,)),
        replace(CLUSTERED, effects=(0.1,)),
        World(200, 2, 0.2, (0.05,)),
        World(150, effects=(0.05,), missing=0.04),
        replace(CLUSTERED, effects=(0.1,), missing=0.04),
    ],
    ids=lambda world: f"{world}, {world.effects[0] * 100:+g} points, {world.missing:.0%} missing",
)
def test_whole_runs_are_decided_as_the_simulation_decides(
    world: World, tmp_path: Path, static_folder: Path
) -> None:
    """Question by question the same series: so the simulation's rates are those of whole runs."""
    wanted, found = [], []
    for seed in range(SERIES):
        drawn = draw(world, np.random.default_rng([SEED, seed]))
        wanted += verdicts(drawn)[0]
        folder = tmp_path / str(seed)
        folder.mkdir()
        found.append(promoted(plant(folder, Plan(world, seed=seed), static_folder)))
    assert found == wanted


def test_a_gain_of_a_few_papers_is_not_taken_for_real(tmp_path: Path, static_folder: Path) -> None:
    plan = Plan(World(15, 14, 0.2), seed=22)  # no effect, and 10 points by chance
    analysis = read(plant(tmp_path, plan, static_folder))
    (gain,) = gains(analysis)
    naive = next(one for one in gain.others if one.name == "exact McNemar")
    assert gain.difference > 0.05
    assert naive.p < 0.01
    assert naive.note
    assert gain.test.p > 0.05
    assert decisions(analysis) == {"hybrid_1": "undecided"}


def test_the_best_of_several_candidates_is_corrected_for_them(
    tmp_path: Path, static_folder: Path
) -> None:
    plan = Plan(World(100, effects=(0.2, 0.0, 0.0)))
    analysis = read(plant(tmp_path, plan, static_folder))
    found = decisions(analysis)
    assert found.pop("hybrid_1") == "promote"
    assert "promote" not in found.values()
    best = max(gains(analysis), key=lambda one: one.difference)
    assert best.adjusted == pytest.approx(min(1, 3 * best.test.p))
