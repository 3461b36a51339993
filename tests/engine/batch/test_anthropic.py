"""Anthropic's Messages API: real answers, JSON by a tool, and how it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loragraft.checkpoint.bundle import open_model
from loragraft.engine.batch.anthropic import AnthropicBatchEngine
from loragraft.engine.batch.opening import missing_key, open_engine
from loragraft.engine.batch.plain import PLAIN
from loragraft.engine.batch.protocol import Answer, Job
from loragraft.engine.batch.remote import Pace
from loragraft.engine.batch.specs import AnthropicSpec
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.protocol import Message, Sampling
from loragraft.errors import InputError, LoragraftError, UnavailableError
from tests.support.chat_dialects import Said, answering_by
from tests.support.chat_server import ChatServer, Fault, chat_server
from tests.support.talking import QUESTIONS, SAYING

GREEDY = Sampling(temperature=0.0, max_tokens=24)
KEY = "sk-ant-a-very-secret-key"
FAST = Pace(concurrency=4, retries=2, first=0.001, longest=0.01)
SCHEMA = {"type": "object", "properties": {"verdict": {"enum": ["A", "B", "tie"]}}}


def job(number: int, **more: Any) -> Job:  # noqa: ANN401
    return Job(f"q{number}", ({"role": "user", "content": f"question {number}."},), GREEDY, **more)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(lambda body: Said(f"You said: {body['messages'][-1]['content']}")) as found:
        found.key = KEY
        yield found


@pytest.fixture
def engine(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnthropicBatchEngine]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    found = AnthropicBatchEngine(spec_of(server), pace=FAST)
    yield found
    found.close()


def spec_of(server: ChatServer, **more: Any) -> AnthropicSpec:  # noqa: ANN401
    return AnthropicSpec(kind="anthropic", model="c", url=f"{server.url}/v1/", timeout=60, **more)


def all_of(engine: AnthropicBatchEngine, *jobs: Job) -> dict[str, Answer]:
    found = {answer.id: answer for answer in engine.answers(jobs)}
    assert sorted(found) == sorted(job.id for job in jobs)
    return found


def text_of(answer: Answer) -> str:
    assert answer.reply is not None, answer
    return answer.reply.text


@pytest.mark.slow
def test_a_real_models_answers(
    engine: AnthropicBatchEngine, server: ChatServer, talking_bundle: Callable[[str], Path]
) -> None:
    model = LlamaEngine(open_model(talking_bundle("qwen2"), None), context=512, threads=1)
    server.answer = answering_by(model)
    jobs = [Job(text, ({"role": "user", "content": text},), GREEDY) for text in QUESTIONS]
    for streams in (True, False):
        server.streams = streams
        found = all_of(engine, *jobs)
        for each in jobs:
            own = model.chat(each.messages, GREEDY)
            reply = found[each.id].reply
            assert reply is not None
            assert (reply.text, reply.prompt_tokens, reply.tokens) == (
                own.text, own.prompt_tokens, own.tokens,
            )  # fmt: skip
            assert SAYING in reply.text
    model.close()


def test_what_is_sent(engine: AnthropicBatchEngine, server: ChatServer) -> None:
    messages: tuple[Message, ...] = (
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Well?"},
    )  # fmt: skip
    sampling = Sampling(0.5, 3, 0.9, seed=7, max_tokens=9, stop=("END", "\n\n"))
    all_of(engine, Job("q", messages, sampling))
    path, body, headers = server.requests[0]
    assert path == "/v1/messages"
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert body == {
        "model": "c", "system": "Be brief.", "messages": list(messages[1:]), "max_tokens": 9,
        "stream": True, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "stop_sequences": ["END"],
    }  # fmt: skip


def test_a_schema_is_held_to_by_a_tool(engine: AnthropicBatchEngine, server: ChatServer) -> None:
    server.answer = lambda body: Said('{"verdict": "tie"}' if body.get("tools") else "tie, I say")
    for streams in (True, False):
        server.streams = streams
        answer = all_of(engine, job(1, schema=SCHEMA))["q1"]
        assert json.loads(text_of(answer)) == {"verdict": "tie"}
        assert answer.reply is not None
        assert answer.reply.finish == "stop"
    assert server.requests[0][1]["tools"][0]["input_schema"] == SCHEMA
    server.unknown = {"tool_choice", "temperature"}
    assert text_of(all_of(engine, job(1, schema=SCHEMA))["q1"]) == "tie, I say"
    assert any("cannot be held to a JSON schema" in note for note in engine.notes)
    assert any("takes no temperature" in note for note in engine.notes)


def test_thinking_and_finish(engine: AnthropicBatchEngine, server: ChatServer) -> None:
    server.answer = lambda body: Said("Four", thinking="Hm, 4?", finish="length")
    reply = all_of(engine, job(1))["q1"].reply
    assert reply is not None
    assert (reply.text, reply.thinking, reply.finish) == ("Four", "Hm, 4?", "length")


@pytest.mark.parametrize(
    ("fault", "status", "attempts", "words"),
    [
        (Fault("die"), "error", 3, "broke off"),
        (Fault("half"), "error", 3, "ended its answer in the middle"),
        (Fault("garbage"), "error", 3, "something else than JSON"),
        (Fault("in_stream", 529, "Overloaded", "overloaded_error"), "error", 3, "529: Overloaded"),
        (Fault("in_stream", 504, "slow", "timeout_error"), "timeout", 3, "504: slow"),
        (Fault("status", 500, "no"), "error", 3, "answers 500"),
        (Fault("filter"), "refused", 2, "stop_reason refusal"),
        (Fault("status", 400, "prompt is too long", "invalid_request_error"), "error", 2, "long"),
    ],
)
def test_a_fault_costs_only_its_own_question(
    engine: AnthropicBatchEngine,
    server: ChatServer,
    fault: Fault,
    status: str,
    attempts: int,
    words: str,
) -> None:
    server.faults_for["question 2."].append(fault)
    limited = fault.status == 529  # which is no fault of the question: it waits for its turn
    server.faults_for["question 3."].extend([fault] * (34 if limited else 3))
    found = all_of(engine, *(job(n) for n in range(5)))
    assert [found[f"q{n}"].status for n in (0, 1, 2, 4)] == ["ok"] * 4
    assert (found["q3"].status, found["q3"].attempts) == (status, attempts)
    assert re.search(words, found["q3"].error)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault("status", 401, f"bad {KEY}", "authentication_error"), UnavailableError,
         r"401: bad \[key removed\].*Set ANTHROPIC_API_KEY"),
        (Fault("status", 400, "Your credit balance is too low"), UnavailableError, "no credit"),
        (Fault("status", 404, "model: c", "not_found_error"), InputError, "Check the model's name"),
    ],
)  # fmt: skip
def test_what_concerns_all_questions_ends_the_work(
    engine: AnthropicBatchEngine,
    server: ChatServer,
    fault: Fault,
    error: type[Exception],
    words: str,
) -> None:
    server.faults.extend([fault] * 4)
    with pytest.raises(error, match=words) as raised:
        list(engine.answers([job(n) for n in range(9)]))
    assert KEY not in str(raised.value)


def test_refusals_for_haste_cost_no_attempt(
    engine: AnthropicBatchEngine, server: ChatServer
) -> None:
    server.faults.extend([Fault("status", 429, "slower", "rate_limit_error", "0")] * 8)
    found = all_of(engine, *(job(n) for n in range(3)))
    assert {(answer.status, answer.attempts) for answer in found.values()} == {("ok", 1)}


def test_what_it_costs_and_who_it_is(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    spec = spec_of(server, input_price=3.0, output_price=15.0)
    assert missing_key(spec) == "ANTHROPIC_API_KEY"
    with pytest.raises(UnavailableError, match="ANTHROPIC_API_KEY is not set"):
        open_engine(spec)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    engine = open_engine(spec)
    server.answer = lambda body: Said("Yes.", prompt_tokens=1000, tokens=100)
    (answer,) = engine.answers([job(1)])
    assert answer.cost == pytest.approx(0.0045)
    assert engine.identity() == {"engine": "anthropic", "url": server.url, "model": "c"}
    assert (engine.name, engine.context) == ("c", 16384)
    assert (engine.load.prompt_tokens, engine.load.tokens) == (1000, 100)
    engine.close()
    engine.close()


@pytest.mark.parametrize(
    ("sampling", "think", "words"),
    [
        ({"min_p": 0.1}, None, "no min_p, and 0.1"),
        ({"repeat_penalty": 1.1}, None, "no repeat_penalty"),
        ({"temperature": 1.5}, None, "temperatures from 0 to 1"),
        ({}, True, "leave think out"),
    ],
)
def test_wishes_that_it_does_not_have(
    engine: AnthropicBatchEngine, sampling: dict[str, float], think: bool | None, words: str
) -> None:
    asked = Job("q", ({"role": "user", "content": "Hi"},), Sampling(**sampling), think=think)  # type: ignore[arg-type]
    with pytest.raises(LoragraftError, match=words):
        list(engine.answers([asked]))


def test_a_plain_prompt_is_none_of_its(engine: AnthropicBatchEngine) -> None:
    plain: tuple[Message, ...] = ({"role": PLAIN, "content": "As it stands"},)
    answer = all_of(engine, Job("p", plain, GREEDY))["p"]
    assert (answer.status, answer.reply) == ("error", None)
    assert "choose chat: true" in answer.error
