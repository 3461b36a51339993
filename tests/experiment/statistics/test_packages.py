"""Who lacks a package is told which one brings it, before anything is computed."""

from __future__ import annotations

import importlib.util

import pytest

from loragraft.errors import MissingExtraError
from loragraft.experiment.statistics.interval import mean_interval
from loragraft.experiment.statistics.multiple import holm
from loragraft.experiment.statistics.significance import mann_whitney, mcnemar, paired_t, wilcoxon
from tests.support.values import both, on_their_own


@pytest.mark.parametrize("missing", ["scipy", "statsmodels"])
def test_a_missing_package_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else there(name)
    )
    pair = both([1, 0, 1], [0, 0, 0])
    with pytest.raises(MissingExtraError, match=rf"'{missing}'.*loragraft\[report\]"):
        mean_interval(on_their_own([1, 0, 1]), low=0, high=1)
    for test in (mcnemar, wilcoxon, paired_t, mann_whitney):
        with pytest.raises(MissingExtraError):
            test(pair)
    with pytest.raises(MissingExtraError):
        holm([0.1, 0.2])
