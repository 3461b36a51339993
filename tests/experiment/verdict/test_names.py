"""A verdict compares experiments of the series, and none of them with itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import InputError
from tests.support.series import embedding_series, loaded

FOUR = {"base": "first", "tuned": "second", "base_retrieval": "third", "tuned_retrieval": "fourth"}


def series(folder: Path, **changes: Any) -> Path:  # noqa: ANN401
    """Return a series of four experiments."""
    engine = {"kind": "embedder", "model": "x"}
    experiments = {name: {"task": "embedding", "engine": engine} for name in FOUR.values()}
    return embedding_series(folder, folder, 2, experiments=experiments, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fidelity": {"reference": "first", "steps": ["first"]}},
         "fidelity.steps[0] names first, as fidelity.reference does"),
        ({"fidelity": {"reference": "first", "steps": ["base"]}}, "names base, as"),
        ({"fidelity": {"reference": "first", "steps": ["second", "second"]}},
         "fidelity.steps[1] names second, as fidelity.steps[0] does"),
        ({"fidelity": {"reference": "first", "steps": ["nobody"]}},
         "fidelity.steps[0]: nobody is no experiment"),
        ({"factorial": {**FOUR, "tuned": "base"}},
         "factorial.tuned names base, as factorial.base does"),
        ({"factorial": {**FOUR, "tuned_retrieval": "third"}}, "factorial.tuned_retrieval names"),
    ],
)  # fmt: skip
def test_an_experiment_is_not_compared_with_itself(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as refused:
        loaded(series(tmp_path, **changes))
    assert said in str(refused.value)


def test_different_experiments_are_taken(tmp_path: Path) -> None:
    fidelity = {"reference": "base", "steps": ["second", "third"]}
    config = loaded(series(tmp_path, factorial=FOUR, fidelity=fidelity))
    assert config.fidelity is not None
