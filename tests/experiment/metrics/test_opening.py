"""Gold evidence and the embedder come out of the series' index, opened when they are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.embedding.static import StaticEmbedder
from loragraft.experiment.arms.retrieval import Retrieval
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.metrics.opening import Tools, open_context
from loragraft.experiment.metrics.registry import compute, metrics_for
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions
from tests.support.answers import asked, cite, sample, shown
from tests.support.shared import build_once
from tests.support.small_index import splitter
from tests.support.small_search import document

TEXT = "The river has a stone bridge. The violin is in the harbour. The lamp costs 12 euros."


@pytest.fixture(scope="session")
def index(shared_folder: Path, static: StaticEmbedder, static_folder: Path) -> Path:
    """Folder of an index of one document."""

    def build(folder: Path) -> Path:
        options = BuildOptions(spec={"name": str(static_folder)})
        build_index(folder, [document("lamp", TEXT)], static, splitter(static), options=options)
        return folder

    return build_once(shared_folder / "metrics-index", build)


@pytest.fixture
def series(index: Path) -> SeriesConfig:
    """A series with the index, whose long answers are judged by overlap."""
    return SeriesConfig.model_validate({
        "series": "lamps", "data": {"files": ["x.jsonl"]}, "baseline": "found",
        "experiments": {"found": {"engine": {"kind": "llama", "model": "base"}, "retrieval": True}},
        "retrieval": {"index": str(index)},
        "metrics": {"groups": ["factuality", "grounding"], "factuality": "overlap"},
    })  # fmt: skip


def test_claims_rest_on_the_index(series: SeriesConfig) -> None:
    text = "The river has a stone bridge [P1]. The lamp costs 12 euros. The lamp costs 13 euros."
    one = sample(text, citations=(cite(text, "[P1]", "P1"),),
                 shown=(shown("P1", "lamp", 0, len(TEXT), TEXT),))  # fmt: skip
    records = {"q1": asked("stone", evidence=(f"lamp#0-{len(TEXT)}",))}
    assert series.retrieval is not None
    with Retrieval(series.retrieval) as retrieval, Tools(series, lambda: retrieval) as tools:
        assert tools.gold(records["q1"]) == [TEXT]
        context = open_context(series, "found", tools)
        scores = compute(metrics_for(series.metrics, "qa", context), [one], records)
        found = {score.metric: score.value for score in scores}
    assert found["factuality"] == found["factuality_claims_overlap"] == pytest.approx(2 / 3)
    assert found["grounding_coverage"] == pytest.approx(1 / 3)


def test_nothing_is_opened_to_list_metrics(series: SeriesConfig) -> None:
    def forbidden() -> Retrieval:
        raise AssertionError("the index was opened")

    with Tools(series, forbidden) as tools:
        metrics = metrics_for(series.metrics, "qa", open_context(series, "found", tools))
        assert "grounding_coverage" in {info.name for one in metrics for info in one.infos}


def test_a_series_without_an_index_has_no_gold(series: SeriesConfig) -> None:
    bare = series.model_copy(update={"retrieval": None})
    with Tools(bare) as tools:
        assert tools.gold(asked("x", evidence=("lamp",))) == []
