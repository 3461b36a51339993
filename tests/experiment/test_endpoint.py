"""A series on an endpoint that fails: what it costs, and what is asked again."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragraft.experiment.arms.opening import Shared
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.report import make_table
from loragraft.experiment.run import RunRequest, run_series
from loragraft.experiment.store import read_samples
from tests.support.chat_dialects import Said, messages_of
from tests.support.chat_server import ChatServer, Fault, Json, chat_server
from tests.support.series import loaded, qa_series

COUNT = 24


def count_stones(body: Json) -> Said:
    """Answer with the number that the question names; the model ``shaky`` is off by one at 7."""
    number = int(re.findall(r"number (\d+)\?", messages_of(body)[-1]["content"])[-1])
    wrong = body["model"] == "shaky" and number == 7
    return Said(f"{number + wrong} stones")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """An endpoint that counts stones."""
    with chat_server(count_stones) as running:
        yield running


@pytest.fixture
def config(server: ChatServer, tmp_path: Path) -> SeriesConfig:
    """A series of two experiments on it."""
    return loaded(qa_series(tmp_path, server.url, COUNT))


def folder_of(config: SeriesConfig, name: str) -> Path:
    """Return an experiment's folder."""
    return config.outputs / config.series / name


def spoil(server: ChatServer, number: int, *kinds: str) -> None:
    """Let the next requests for a question go wrong."""
    server.faults_for[f"number {number}?"] = deque(Fault(kind) for kind in kinds)


def test_faults_cost_their_samples_alone_and_are_asked_once_more(
    server: ChatServer, config: SeriesConfig
) -> None:
    run_series(config, RunRequest(only=["steady"], score=False))
    spoil(server, 2, "hang")
    spoil(server, 4, "garbage")
    spoil(server, 6, "die", "half")
    spoil(server, 8, "half")
    [first] = run_series(config, RunRequest(only=["shaky"], score=False)).arms
    assert (first.state, sum(first.counts.values())) == ("done", COUNT)
    assert first.counts["ok"] == COUNT - 4
    samples = read_samples(folder_of(config, "shaky"))
    failed = sorted(key[0] for key, sample in samples.items() if sample.status != "ok")
    assert failed == ["q-002", "q-004", "q-006", "q-008"]
    assert samples["q-002", 0].status == "timeout"
    assert all(samples[name, 0].error for name in failed)

    asked = len(server.requests)
    [second] = run_series(config, RunRequest(only=["shaky"], score=False)).arms
    assert len(server.requests) == asked + 4
    assert (second.state, second.counts["ok"]) == ("done", COUNT - 1)
    again = read_samples(folder_of(config, "shaky"))["q-006", 0]
    assert (again.status, again.tries) == ("error", 2)

    [third] = run_series(config, RunRequest(only=["shaky"], score=False)).arms
    assert (third.state, len(server.requests)) == ("kept", asked + 4)
    [forced] = run_series(config, RunRequest(only=["shaky"], retry=True, score=False)).arms
    assert (forced.state, forced.counts) == ("done", {"ok": COUNT})


def test_what_is_missing_is_counted_beside_each_figure_and_left_out_pairwise(
    server: ChatServer, config: SeriesConfig
) -> None:
    spoil(server, 3, "garbage")
    run_series(config)
    assert read_samples(folder_of(config, "steady"))["q-003", 0].status == "error"
    with Shared(config) as shared:
        table = make_table(config, shared)
    rows = {row.info.name: row.cells for row in table.rows}
    steady, shaky = rows["exact_match"]["steady"], rows["exact_match"]["shaky"]
    assert steady is not None
    assert shaky is not None
    assert (steady.count, steady.of, steady.missing) == (COUNT - 1, COUNT, {"error": 1})
    assert (shaky.count, shaky.value) == (COUNT, pytest.approx((COUNT - 1) / COUNT))
    [pair] = [pair for pair in table.pairs if pair.metric == "exact_match"]
    assert (pair.count, pair.excluded) == (COUNT - 1, 1)
    assert pair.difference == pytest.approx(-1 / (COUNT - 1))


def test_an_endpoint_that_is_dead_fails_its_experiment_and_a_later_run_goes_on(
    server: ChatServer, config: SeriesConfig
) -> None:
    server.key = "another"
    outcome = run_series(config, RunRequest(score=False))
    assert [arm.state for arm in outcome.arms] == ["failed", "failed"]
    assert outcome.failed
    assert "401" in outcome.arms[0].message or "key" in outcome.arms[0].message
    server.key = None
    assert [arm.state for arm in run_series(config, RunRequest(score=False)).arms] == [
        "done",
        "done",
    ]


def test_an_experiment_without_any_answer_has_failed_whenever_it_is_looked_at(
    server: ChatServer, config: SeriesConfig
) -> None:
    server.answer = lambda body: Said("three stones", prompt_tokens=1)  # the prompt was cut
    for asked in (COUNT, 2 * COUNT, 2 * COUNT):
        [arm] = run_series(config, RunRequest(only=["steady"], score=False)).arms
        assert (arm.state, arm.counts) == ("failed", {"truncated": COUNT})
        assert f"No question of steady was answered ({COUNT} truncated)" in arm.message
        assert len(server.requests) == asked


def test_a_missing_key_leaves_an_optional_experiment_out(
    server: ChatServer, config: SeriesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    path = config.outputs.parent / "series.yaml"
    keyed = loaded(path, "experiments.shaky.engine.key=NO_SUCH_KEY")
    outcome = run_series(keyed, RunRequest(score=False))
    assert [arm.state for arm in outcome.arms] == ["done", "left out"]
    assert "NO_SUCH_KEY is not set" in outcome.arms[1].message
    assert not outcome.failed
    needed = loaded(path, "experiments.shaky.engine.key=NO_SUCH_KEY",
                    "experiments.shaky.engine.needed=true")  # fmt: skip
    assert [arm.state for arm in run_series(needed, RunRequest(score=False)).arms] == [
        "kept",
        "failed",
    ]


def test_hostile_answers_are_kept_as_text_and_nothing_breaks(
    config: SeriesConfig, server: ChatServer
) -> None:
    texts = ["\x1b[2J\x07", "half \ud800 of one", "\0", "x" * 3000, "</s>[INST]", "\u2028|"]

    def answer(body: Json) -> Said:
        number = int(re.findall(r"number (\d+)\?", messages_of(body)[-1]["content"])[-1])
        return Said(texts[number % len(texts)] if number % 2 else f"{number} stones")

    server.answer = answer
    [arm] = run_series(config, RunRequest(only=["steady"], score=False)).arms
    samples = read_samples(folder_of(config, "steady"))
    assert len(samples) == COUNT
    assert arm.state == "done"
    raw = (folder_of(config, "steady") / "samples.jsonl").read_bytes()
    assert b"\x1b" not in raw
    assert all(isinstance(json.loads(line), dict) for line in raw.splitlines())
