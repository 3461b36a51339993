"""Judges behind endpoints, with everything that goes wrong there: it costs single pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loragraft.engine.batch.anthropic import AnthropicBatchEngine
from loragraft.engine.batch.openai import OpenAiBatchEngine
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.engine.batch.remote import Pace
from loragraft.engine.batch.specs import AnthropicSpec, OpenAiSpec
from loragraft.experiment.judge.asking import Settings
from loragraft.experiment.judge.book import VerdictBook
from loragraft.experiment.judge.judging import JudgeSupport, judge_correct
from loragraft.experiment.judge.pairwise import Judged, Pair, judge_pairs
from loragraft.experiment.judge.prompt import Material
from loragraft.experiment.judge.summary import summarise
from tests.support.chat_dialects import Said
from tests.support.chat_server import ChatServer, Fault, chat_server
from tests.support.judging import sections, verdict

KEY = "sk-a-judges-secret-key"
TOKENS = 600
FAST = Pace(concurrency=4, retries=1, first=0.001, longest=0.01)
PAIRS = [
    Pair(f"q{number}", 0, "fact", None, f"record {number}", "long answer" * (number + 1), "short")
    for number in range(4)
]


def longer_wins(body: dict[str, Any]) -> Said:
    """Judge by length; a repair gets the same, without the fence."""
    found = sections(body["messages"][0]["content"])
    word = "A" if len(found["Answer A"]) > len(found["Answer B"]) else "B"
    said = verdict(word, f"{word} says more.")
    fenced = f"Here you are:\n```json\n{said}\n```"
    return says(said if body.get("tool_choice") else fenced)


def says(text: str) -> Said:
    return Said(text, prompt_tokens=TOKENS)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(longer_wins) as found:
        found.key = KEY
        yield found


@pytest.fixture(params=["openai", "anthropic"])
def engine(
    request: pytest.FixtureRequest, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BatchEngine]:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    found: BatchEngine
    if request.param == "openai":
        spec = OpenAiSpec(kind="openai", model="j", url=f"{server.url}/v1", key="JUDGE_KEY",
                          input_price=1000.0, output_price=2000.0)  # fmt: skip
        found = OpenAiBatchEngine(spec, pace=FAST)
    else:
        other = AnthropicSpec(kind="anthropic", model="j", url=server.url, key="JUDGE_KEY",
                              input_price=1000.0, output_price=2000.0)  # fmt: skip
        found = AnthropicBatchEngine(other, pace=FAST)
    yield found
    found.close()


def judge(folder: Path, engine: BatchEngine) -> list[Judged]:
    with VerdictBook(folder / "a__b.jsonl", "key") as book:
        return judge_pairs(PAIRS, book, lambda: engine, lambda name: Material(f"What is {name}?"),
                           Settings(max_tokens=64))  # fmt: skip


def test_pairs_are_judged_and_paid_for(
    tmp_path: Path, engine: BatchEngine, server: ChatServer
) -> None:
    summary = summarise("a", "b", judge(tmp_path, engine))
    assert (summary.wins, summary.judged, summary.disagreements) == (4, 4, 0)
    assert summary.cost == pytest.approx(8 * (TOKENS * 1000 + 5 * 2000) / 1e6)
    bodies = [body for _, body, _ in server.requests]
    held = json.dumps([body.get("response_format") or body.get("tools") for body in bodies])
    assert held.count('"reasons"') >= len(bodies)
    assert KEY not in (tmp_path / "a__b.jsonl").read_text()


@pytest.mark.parametrize("kind", ["garbage", "drop", "half", "die", "page"])
def test_a_fault_costs_the_pair_it_hits_and_the_next_run_mends_it(
    tmp_path: Path, engine: BatchEngine, server: ChatServer, kind: str
) -> None:
    server.faults_for["What is q2?"].extend([Fault(kind)] * 4)
    found = judge(tmp_path, engine)
    assert [one.outcome for one in found] == ["a", "a", None, "a"]
    summary = summarise("a", "b", found)
    assert (summary.pairs, summary.judged, summary.win_rate) == (4, 3, 1.0)
    assert [one.outcome for one in judge(tmp_path, engine)] == ["a"] * 4


def test_a_fault_that_passes_costs_nothing(
    tmp_path: Path, engine: BatchEngine, server: ChatServer
) -> None:
    for number, fault in enumerate((Fault("status", 529), Fault("drop"), Fault("status", 500))):
        server.faults_for[f"What is q{number}?"].append(fault)
    assert [one.outcome for one in judge(tmp_path, engine)] == ["a"] * 4


def test_a_judge_that_refuses_one_question_leaves_its_pair_missing(
    tmp_path: Path, engine: BatchEngine, server: ChatServer
) -> None:
    server.faults_for["What is q1?"].extend([Fault("refusal")] * 9)
    found = judge(tmp_path, engine)
    assert found[1].missing == "judge, ab: refused; ba: refused"
    assert [one.outcome for one in found] == ["a", None, "a", "a"]


def test_claims_and_answers_are_judged_one_by_one(engine: BatchEngine, server: ChatServer) -> None:
    def rule(body: dict[str, Any]) -> Said:
        found = sections(body["messages"][0]["content"])
        if "Passage" in found:
            yes = found["Statement"] in found["Passage"]
            return says(verdict("supported" if yes else "unsupported"))
        return says(verdict("correct" if found["Answer"] == "Lima" else "incorrect"))

    server.answer = rule
    server.faults_for["stays unknown"].extend([Fault("refusal")] * 9)
    claims = [("It flows.", "It flows. Fast."), ("It stands.", "It flows."), (" ", "It flows."),
              ("It stays unknown.", "It flows."), ("It flows.", "It flows. Fast.")]  # fmt: skip
    found = JudgeSupport(engine).supported(claims)
    assert [one.supported for one in found] == [True, False, False, None, True]
    assert "no verdict (refused)" in found[3].reason
    assert len({str(body["messages"]) for _, body, _ in server.requests}) == 3
    material = Material("What is the capital?", ("Lima",))
    said = judge_correct(engine, [(material, "Lima"), (material, "Cuzco"), (material, " ")])
    assert [one.correct for one in said] == [True, False, False]


def test_claims_are_kept_in_a_book(tmp_path: Path, engine: BatchEngine, server: ChatServer) -> None:
    server.answer = lambda body: says(verdict("supported"))
    for count in (1, 0):
        before = len(server.requests)
        with VerdictBook(tmp_path / "claims.jsonl", "key") as book:
            support = JudgeSupport(engine, book=book)
            assert support.supported([("It flows.", "It flows. Fast.")])[0].supported is True
        assert len(server.requests) - before == count
