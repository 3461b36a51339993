"""The 2x2 of tuning by retrieval, and what an export has cost, from a series' own records."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from loragraft.experiment.analysis.effects import factorial_of, fidelity_of, missing_effects
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.measured import Measured, MeasuredSeries
from tests.support.measured import INFOS, experiment

VALUES = {"base": [0, 0, 0, 1], "tuned": [0, 1, 0, 1], "rag": [1, 0, 0, 1], "hybrid": [1, 1, 1, 1]}
FOUR = {"base": "base", "tuned": "tuned", "base_retrieval": "rag", "tuned_retrieval": "both"}


def series(arms: dict[str, Measured], **more: Any) -> MeasuredSeries:  # noqa: ANN401
    """Return a series of experiments; ``both`` is another name of ``hybrid``."""
    engine = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "model": "m"}
    config = SeriesConfig.model_validate({
        "series": "houses", "data": {"files": [Path("q.jsonl")]}, "baseline": "base",
        "experiments": {name: {"engine": engine} for name in VALUES},
        "aliases": {"both": "hybrid"}, "retrieval": {"index": Path("i")}, **more,
    })  # fmt: skip
    return MeasuredSeries(config, cast(Any, None), arms, INFOS)


def arms(**changes: Measured) -> dict[str, Measured]:
    """Return the four experiments."""
    made = {name: experiment(name, {"factuality": [float(v) for v in values]}, per_paper=1)
            for name, values in VALUES.items()}  # fmt: skip
    return {**made, **changes}


def test_effects_are_contrasts_of_the_four_experiments_means() -> None:
    found = {one.name: one for one in factorial_of(series(arms(), factorial=FOUR), "factuality")}
    assert list(found) == ["tuning", "retrieval", "interaction"]
    # means: 1/4, 2/4, 2/4, 4/4
    assert found["tuning"].value == pytest.approx(((2 - 1) + (4 - 2)) / 4 / 2)
    assert found["retrieval"].value == pytest.approx(((2 - 1) + (4 - 2)) / 4 / 2)
    assert found["interaction"].value == pytest.approx((4 - 2) / 4 - (2 - 1) / 4)
    assert "+25.0 points without retrieval, +50.0 points with retrieval" in found["tuning"].sentence
    assert found["tuning"].sentence.endswith("that may be chance.")
    assert all(one.count == 4 for one in found.values())


def test_what_is_not_there_has_no_effect_and_is_named() -> None:
    some = arms()
    del some["hybrid"]
    lacking = series(some, factorial=FOUR, fidelity={"reference": "both", "steps": ["tuned"]})
    assert factorial_of(lacking, "factuality") == ()
    assert list(fidelity_of(lacking, "factuality")) == []
    assert list(missing_effects(lacking)) == [
        "The 2x2 of tuning by retrieval cannot be told: both was not run.",
        "What the export has cost cannot be told: both was not run.",
    ]
    assert factorial_of(series(arms()), "factuality") == ()
    assert factorial_of(series(arms(), factorial=FOUR), "nothing") == ()


def test_experiments_that_were_not_asked_the_same_are_not_set_against_each_other() -> None:
    other = experiment("tuned", {"factuality": [1, 1, 1, 1]}, questions="others")
    mixed = series(arms(tuned=other), factorial=FOUR)
    assert factorial_of(mixed, "factuality") == ()
    assert list(missing_effects(mixed)) == [
        "The 2x2 of tuning by retrieval cannot be told: base, tuned, rag, both were not asked the "
        "same."
    ]


def test_an_export_is_equivalent_only_where_that_was_shown() -> None:
    alike = {name: experiment(name, {"factuality": [n % 2 for n in range(300)]}, per_paper=1)
             for name in ("base", "rag")}  # fmt: skip
    worse = experiment("tuned", {"factuality": [0] * 300}, per_paper=1)
    few = experiment("hybrid", {"factuality": [n % 2 for n in range(300)][:4]}, per_paper=1,
                     asked=300)  # fmt: skip
    asked = {"reference": "base", "steps": ["rag", "tuned", "both"], "bound": 0.05}
    exported = series({**alike, "tuned": worse, "hybrid": few}, fidelity=asked)
    found = {one.name: one for one in fidelity_of(exported, "factuality")}
    assert found["rag"].equivalent is True
    assert "as good as the same: surely within 5.0 points" in found["rag"].sentence
    assert found["tuned"].equivalent is False
    assert "surely differs by more than 5.0 points" in found["tuned"].sentence
    assert found["both"].equivalent is False
    assert "so few questions cannot tell" in found["both"].sentence
    assert [one.bound for one in found.values()] == [0.05] * 3
