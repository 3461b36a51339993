"""Experiments with and without passages: what is not applicable, what makes them stale."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.jsonl import write_jsonl
from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError
from loragraft.experiment.arms.opening import Shared
from loragraft.experiment.compare import check_comparable
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.records import NOT_APPLICABLE
from loragraft.experiment.report import make_table
from loragraft.experiment.run import run_series
from loragraft.experiment.run_info import RunInfo, read_run
from loragraft.experiment.status import series_status
from loragraft.experiment.store import read_samples
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions
from loragraft.rag.records import Document
from loragraft.rag.search.lexical import LEXICAL, write_lexical
from tests.support.chat_dialects import Said, messages_of
from tests.support.chat_server import ChatServer, Json, chat_server
from tests.support.series import loaded, write_config
from tests.support.small_index import make_documents, splitter
from tests.support.small_search import document

COUNT = 6


def houses(extra: str = "") -> list[Document]:
    """Return documents that say how many stones each house has."""
    said = [
        document(f"house-{n}", f"The house number {n} has {n + 20} stones. {extra}")
        for n in range(COUNT)
    ]
    return [*said, *make_documents(3)]


def ask(number: int) -> dict[str, Any]:
    """Return a question about a house, with its evidence."""
    return {"kind": "qa", "id": f"q{number}", "task_type": "numeric",
            "question": f"How many stones has the house number {number}?",
            "answers": [f"{number + 20} stones"], "evidence": [f"house-{number}"],
            "paper_id": "houses"}  # fmt: skip


def answer(body: Json) -> Said:
    """Answer right and with the first passage where there are some; else without."""
    text = messages_of(body)[-1]["content"]
    number = int(text.rsplit("number ", 1)[1].split("?")[0])
    cited = " [P1]" if "[P1]" in text else ""
    return Said(f"It has {number + 20} stones{cited}.", prompt_tokens=None)


class Place:
    """A folder with an index and a series over it."""

    def __init__(self, folder: Path, embedder: StaticEmbedder, spec: Path, url: str) -> None:
        """Build the index and write the series."""
        self.folder, self._embedder, self._spec = folder, embedder, spec
        self.corpus = folder / "houses.md"
        self.corpus.write_text("houses")
        self.index(houses())
        write_jsonl(folder / "questions.jsonl", map(ask, range(COUNT)))
        engine = {"kind": "openai", "url": f"{url}/v1", "key": None, "model": "m", "retries": 0}
        values = {
            "series": "houses", "baseline": "found", "outputs": "outputs",
            "data": {"files": ["questions.jsonl"]}, "metrics": {"groups": ["retrieval"]},
            "retrieval": {"index": "index", "passages": 2}, "sampling": {"max_tokens": 16},
            "experiments": {
                "found": {"engine": engine, "retrieval": True}, "alone": {"engine": engine},
            },
        }  # fmt: skip
        self.path = write_config(folder, values)

    def index(self, documents: list[Document], name: str = "index") -> None:
        """Build an index."""
        options = BuildOptions(spec={"name": str(self._spec)}, parts={LEXICAL: write_lexical},
                               sources=(str(self.corpus),))  # fmt: skip
        build_index(self.folder / name, documents, self._embedder, splitter(self._embedder),
                    options=options, replace=True)  # fmt: skip


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """An endpoint that knows the houses."""
    with chat_server(answer) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, static: StaticEmbedder, static_folder: Path, server: ChatServer) -> Place:
    """Its series, complete."""
    place = Place(tmp_path, static, static_folder, server.url)
    outcome = run_series(loaded(place.path))
    assert [arm.state for arm in outcome.arms] == ["done", "done"], outcome.arms
    return place


def stale(config: SeriesConfig) -> list[tuple[str, ...]]:
    """Return what is stale of each experiment."""
    return [arm.stale for arm in series_status(config).arms]


def info_of(config: SeriesConfig, name: str) -> RunInfo:
    """Return what a run says of itself."""
    info = read_run(config.outputs / config.series / name)
    assert info is not None
    return info


def test_passages_are_kept_with_the_sample_and_metrics_apply_where_they_can(place: Place) -> None:
    config = loaded(place.path)
    sample = read_samples(config.outputs / "houses" / "found")["q3", 0]
    assert sample.retrieved[0].doc_id == "house-3"
    assert [passage.label for passage in sample.shown] == ["P1", "P2"]
    assert [citation["label"] for citation in sample.citations] == ["P1"]
    with Shared(config) as shared:
        table = make_table(config, shared)
    cells = next(row.cells for row in table.rows if row.info.name == "recall@2")
    found, alone = cells["found"], cells["alone"]
    assert found is not None
    assert alone is not None
    assert (found.value, found.count) == (1.0, COUNT)
    assert (alone.value, alone.reason) == (None, NOT_APPLICABLE)
    assert not table.refused
    json.dumps(table.to_json())


def test_an_index_built_again_of_the_same_documents_is_the_same(place: Place) -> None:
    config = loaded(place.path)
    place.index(houses())
    assert stale(config) == [(), ()]
    assert [arm.state for arm in run_series(config).arms] == ["kept", "kept"]


def test_another_index_makes_the_searching_experiment_stale_and_its_run_anew(
    place: Place, server: ChatServer
) -> None:
    config, asked = loaded(place.path), len(server.requests)
    before = info_of(config, "found")
    place.index(houses("And a door."))
    assert stale(config) == [("index",), ()]
    outcome = run_series(config)
    assert [arm.state for arm in outcome.arms] == ["done", "kept"]
    assert "found that was there is another: arm.index" in outcome.arms[0].notes[0]
    assert len(server.requests) == asked + COUNT
    with pytest.raises(InputError, match="index"):
        check_comparable(before, info_of(config, "found"))
    check_comparable(before, info_of(config, "alone"))


def test_a_changed_corpus_is_told_and_costs_no_run(place: Place) -> None:
    config = loaded(place.path)
    place.corpus.write_text("more houses")
    assert stale(config) == [("corpus",), ()]
    assert [arm.state for arm in run_series(config).arms] == ["kept", "kept"]
