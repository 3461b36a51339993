"""What questions can show, told before they are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.artifact.jsonl import write_jsonl
from loragraft.experiment.arms.opening import Shared
from loragraft.experiment.config import SeriesConfig, load_series
from loragraft.experiment.foresight import foresee
from loragraft.experiment.judged import open_tools
from loragraft.experiment.measured import measure_series
from loragraft.experiment.statistics.power import exact_power
from scripts.verdict_simulations import World
from tests.support.planted import Plan, plant
from tests.support.series import question


def alone(number: int) -> dict[str, object]:
    """Return a question without a paper."""
    return {key: value for key, value in question(number).items() if key != "paper_id"}


def series(folder: Path, embedder: Path, count: int, *changes: str) -> SeriesConfig:
    """Return a series that nobody has answered, of questions without papers."""
    path = plant(folder, Plan(World(2)), embedder, outputs="elsewhere")
    write_jsonl(folder / "questions.jsonl", map(alone, range(count)))
    return load_series(path, ["outputs=nowhere", *changes])


def test_without_answers_it_is_assumed_how_much_experiments_differ(
    tmp_path: Path, static_folder: Path
) -> None:
    found = foresee(series(tmp_path, static_folder, 150))
    assert found is not None
    assert (found.questions, found.papers, found.candidates) == (150, 150, 1)
    assert found.smallest == pytest.approx(0.0998, abs=5e-4)
    assert found.needed is not None
    assert exact_power(found.needed - 1, 0.05, 0.2) < 0.8 <= exact_power(found.needed, 0.05, 0.2)
    assert found.lines[0].startswith("150 questions can show a difference of 10.0 points of factu")
    assert "+5.0 points would need about 658 (80 % power" in found.lines[0]
    assert "disagree on 20% of questions." in found.lines[1]


def test_few_papers_and_several_candidates_are_told(tmp_path: Path, static_folder: Path) -> None:
    path = plant(tmp_path, Plan(World(5, 14, effects=(0.0, 0.0))), static_folder)
    found = foresee(load_series(path, ["outputs=nowhere"]))
    assert found is not None
    assert (found.smallest, found.candidates, found.papers) == (None, 2, 5)
    assert found.design == pytest.approx(2.3)
    assert "fewer than 7 papers never come below p = 0.025" in found.lines[0]
    assert "corrected for 2 candidates" in found.lines[0]
    assert "intra-class correlation of 0.1" in found.lines[1]


def test_what_was_answered_takes_the_place_of_assumptions(
    tmp_path: Path, static_folder: Path
) -> None:
    path = plant(tmp_path, Plan(World(40, discordance=0.1)), static_folder)
    config = load_series(path, ["metrics.groups=[factuality]"])
    with Shared(config) as shared, open_tools(config, lambda: shared) as tools:
        measure_series(config, shared, tools)
    found = foresee(config)
    assert found is not None
    assert found.discordance is None
    assert found.deviation is not None
    assert 0.1 < found.deviation < 0.6
    assert found.lines[1].startswith("That rests on 40 questions that were answered")


def test_nothing_is_said_where_nothing_is_promoted_or_known(
    tmp_path: Path, static_folder: Path
) -> None:
    config = series(tmp_path, static_folder, 30, "promotion.metric=token_f1")
    told = foresee(config)
    assert told is not None
    assert (told.smallest, told.needed) == (None, None)
    assert told.lines[0].startswith("Nothing is known yet of how token_f1 varies")
    assert foresee(config.model_copy(update={"promotion": None})) is None
    (tmp_path / "questions.jsonl").write_text("")
    assert foresee(config) is None
