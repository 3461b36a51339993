"""Endpoints that speak OpenAI's API: real answers, and every way in which they fail."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loragraft.checkpoint.bundle import open_model
from loragraft.engine.batch import endpoint
from loragraft.engine.batch.openai import OpenAiBatchEngine
from loragraft.engine.batch.plain import PLAIN
from loragraft.engine.batch.protocol import (
    Answer,
    BatchEngine,
    Continuations,
    Job,
    ProbabilityEngine,
)
from loragraft.engine.batch.remote import GIVE_UP_AFTER, Pace
from loragraft.engine.batch.specs import OpenAiSpec
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.protocol import Message, Sampling
from loragraft.errors import InputError, UnavailableError
from tests.support.chat_dialects import Said, answering_by
from tests.support.chat_server import ChatServer, Fault, chat_server
from tests.support.talking import QUESTIONS, SAYING

GREEDY = Sampling(temperature=0.0, max_tokens=24)
KEY = "sk-a-very-secret-key-1234"
FAST = Pace(concurrency=4, retries=2, first=0.001, longest=0.01)


def job(number: int, text: str = "", **sampling: Any) -> Job:  # noqa: ANN401
    content = text or f"question {number}."
    options = {"temperature": 0.0, "max_tokens": 24, **sampling}
    return Job(f"q{number}", ({"role": "user", "content": content},), Sampling(**options))


def echo(body: dict[str, Any]) -> Said:
    return Said(f"You said: {body['messages'][-1]['content']}")


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server(echo) as found:
        yield found


OPENED: list[BatchEngine] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def engine(server: ChatServer) -> OpenAiBatchEngine:
    return opened(server)


def opened(server: ChatServer, pace: Pace = FAST, **more: Any) -> OpenAiBatchEngine:  # noqa: ANN401
    spec = {"kind": "openai", "model": "m", "url": f"{server.url}/v1", "key": None, **more}
    engine = OpenAiBatchEngine(OpenAiSpec.model_validate(spec), pace=pace)
    OPENED.append(engine)
    return engine


def all_of(engine: OpenAiBatchEngine, *jobs: Job) -> dict[str, Answer]:
    found = {answer.id: answer for answer in engine.answers(jobs)}
    assert sorted(found) == sorted(job.id for job in jobs)
    return found


@pytest.mark.slow
def test_a_real_models_answers_and_probabilities(talking_bundle: Callable[[str], Path]) -> None:
    model = LlamaEngine(open_model(talking_bundle("qwen2"), None), context=512, threads=1)
    with chat_server(answering_by(model)) as server:
        engine: ProbabilityEngine = opened(server)
        jobs = [job(n, text) for n, text in enumerate(QUESTIONS)]
        found = {answer.id: answer for answer in engine.answers(jobs)}
        for each in jobs:
            reply, own = found[each.id].reply, model.chat(each.messages, GREEDY)
            assert reply is not None
            assert (reply.text, reply.finish, reply.prompt_tokens, reply.tokens) == (
                own.text, own.finish, own.prompt_tokens, own.tokens,
            )  # fmt: skip
            assert SAYING in reply.text
        first = model.next_log_probs(model.prompt_ids(jobs[0].messages))
        best = int(first.argmax())
        text = model.piece(best).decode()
        wanted = Continuations("c", jobs[0].messages, (text, "never said at all"))
        (probabilities,) = engine.log_probs([wanted])
        assert probabilities.sums == (pytest.approx(float(first[best])), -math.inf)
        assert probabilities.counts == (1, 1)
        assert engine.load.tokens > 0
        assert engine.load.seconds > 0
        engine.close()
        engine.close()
    model.close()


def test_what_is_sent(engine: OpenAiBatchEngine, server: ChatServer) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
              "additionalProperties": False}  # fmt: skip
    sampling = Sampling(0.5, 3, 0.9, 0.1, 1.2, 2**40 + 7, 9, ("a", "b", "c", "d", "e"))
    messages: tuple[Message, ...] = (
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
    )  # fmt: skip
    all_of(engine, Job("q", messages, sampling, think=False, schema=schema))
    path, body, headers = server.requests[0]
    assert path == "/v1/chat/completions"
    assert "authorization" not in headers
    assert body == {
        "model": "m", "messages": list(messages), "stream": True, "top_k": 3, "min_p": 0.1,
        "repetition_penalty": 1.2, "repeat_penalty": 1.2, "temperature": 0.5, "top_p": 0.9,
        "seed": 7, "stop": ["a", "b", "c", "d"], "max_tokens": 9,
        "stream_options": {"include_usage": True},
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "answer", "schema": schema, "strict": True}},
        "chat_template_kwargs": {"enable_thinking": False, "thinking": False},
    }  # fmt: skip


def test_openai_itself_is_asked_for_what_it_knows() -> None:
    from loragraft.engine.batch.openai_body import Wishes

    wishes = Wishes("https://api.openai.com/v1", "gpt")
    body = wishes.body([{"role": "user", "content": "Hi"}], GREEDY, None, None)
    assert set(body) == {
        "model", "messages", "stream", "temperature", "top_p", "max_completion_tokens",
        "stream_options",
    }  # fmt: skip
    with pytest.raises(InputError, match=r"does not take min_p, and 0\.1 is asked for.*0\.0"):
        wishes.body([], Sampling(min_p=0.1), None, None)


def test_wishes_that_are_not_known_are_left_out_and_said(
    engine: OpenAiBatchEngine, server: ChatServer
) -> None:
    server.unknown = {
        "top_k", "min_p", "repetition_penalty", "repeat_penalty", "seed", "max_tokens",
        "stream_options", "temperature",
    }  # fmt: skip
    found = all_of(engine, *(job(n, seed=n) for n in range(6)))
    assert {answer.status for answer in found.values()} == {"ok"}
    assert {answer.attempts for answer in found.values()} == {1}
    assert server.requests[-1][1]["max_completion_tokens"] == 24
    assert any("takes no temperature" in note for note in engine.notes)
    assert any("takes no seed" in note for note in engine.notes)
    before = len(server.requests)
    all_of(engine, job(7))
    assert len(server.requests) == before + 1  # it is known by now


def test_wishes_that_change_answers_are_not_left_out(
    engine: OpenAiBatchEngine, server: ChatServer
) -> None:
    server.unknown = {"top_k"}
    with pytest.raises(InputError, match="does not take top_k, and 5 is asked for"):
        all_of(engine, job(1, top_k=5))


def test_one_spelling_of_the_penalty_is_enough(
    engine: OpenAiBatchEngine, server: ChatServer
) -> None:
    server.unknown = {"repetition_penalty"}
    assert all_of(engine, job(1, repeat_penalty=1.3))["q1"].status == "ok"
    server.unknown = {"repetition_penalty", "repeat_penalty"}
    with pytest.raises(InputError, match="does not take repetition_penalty"):
        all_of(engine, job(1, repeat_penalty=1.3))


def test_no_limit_is_taken_in_either_spelling(
    engine: OpenAiBatchEngine, server: ChatServer
) -> None:
    server.unknown = {"max_tokens", "max_completion_tokens"}
    assert all_of(engine, job(1))["q1"].status == "ok"


FAULTS = [
    (Fault("drop"), "error", "broke off|disconnected"),
    (Fault("die"), "error", "broke off"),
    (Fault("half"), "error", "ended its answer in the middle"),
    (Fault("garbage"), "error", "something else than JSON"),
    (Fault("page"), "error", "something else than JSON.*DOCTYPE"),
    (Fault("status", 500), "error", "answers 500: something unheard of"),
    (Fault("status", 503), "error", "answers 503"),
    (Fault("status", 504), "timeout", "answers 504"),
    (Fault("in_stream"), "error", "answers 500: something unheard of"),
    (Fault("huge"), "error", "an event of more than 8 MiB"),
    (Fault("hang"), "timeout", "said nothing for 1 seconds"),
    (Fault("hang_after"), "timeout", "said nothing for 1 seconds"),
    (Fault("endless"), "timeout", "did not end its answer within 1 seconds"),
]


@pytest.mark.parametrize(
    ("fault", "status", "words"), FAULTS,
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else "",
)  # fmt: skip
def test_a_fault_costs_only_its_own_question(
    server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    status: str,
    words: str,
) -> None:
    monkeypatch.setattr(endpoint, "LONGEST", 1)
    pace = Pace(concurrency=4, retries=1, first=0.001)
    engine = opened(server, pace, timeout=1 if status == "timeout" else 60)
    server.faults_for["question 2."].append(fault)
    server.faults_for["question 3."].extend([fault] * 2)
    found = all_of(engine, *(job(n) for n in range(6)))
    attempts = {name: (answer.status, answer.attempts) for name, answer in found.items()}
    ok = dict.fromkeys(("q0", "q1", "q4", "q5"), ("ok", 1))
    assert attempts == {**ok, "q2": ("ok", 2), "q3": (status, 2)}
    assert found["q3"].reply is None
    assert re.search(words, found["q3"].error), found["q3"].error
    assert found["q2"].reply is not None
    assert found["q2"].reply.text == "You said: question 2."


@pytest.mark.parametrize(
    ("fault", "status", "attempts", "words"),
    [
        (Fault("filter"), "refused", 2, "refused the question: finish_reason content_filter"),
        (Fault("refusal"), "refused", 2, "refused the question: I cannot help"),
        (Fault("status", 400, "no", "content_filter"), "refused", 2, "refused.*by its filter"),
        (Fault("status", 403, "flagged by moderation"), "refused", 2, "by its filter"),
        (Fault("status", 400, "maximum context length is 9"), "error", 2, "cannot take this"),
        (Fault("status", 413, "too much"), "error", 2, "answers 413"),
        (Fault("in_stream", 400, "no such thing", None), "error", 2, "answers 400"),
    ],
)
def test_what_lies_with_the_question_is_tried_once_more(
    engine: OpenAiBatchEngine,
    server: ChatServer,
    fault: Fault,
    status: str,
    attempts: int,
    words: str,
) -> None:
    server.faults_for["question 1."].extend([fault] * 9)
    found = all_of(engine, job(1), job(2))
    assert (found["q1"].status, found["q1"].attempts) == (status, attempts)
    assert re.search(words, found["q1"].error)
    assert found["q2"].status == "ok"


def test_an_empty_answer_is_one(engine: OpenAiBatchEngine, server: ChatServer) -> None:
    server.faults.append(Fault("empty"))
    reply = all_of(engine, job(1))["q1"].reply
    assert reply is not None
    assert (reply.text, reply.finish) == ("", "stop")


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault("status", 401, f"bad key {KEY}"), UnavailableError, r"401.*\[key removed\].*MY_KEY"),
        (Fault("status", 402, "pay"), UnavailableError, "no credit left"),
        (Fault("status", 429, "no", "insufficient_quota"), UnavailableError, "no credit left"),
        (Fault("status", 404, "no model m"), InputError, r"Check the model's name \(m\)"),
        (Fault("redirect"), InputError, "sends on to another address"),
        (Fault("status", 429, "later", None, "86400"), UnavailableError, "wait 86400 seconds"),
    ],
)
def test_what_concerns_all_questions_ends_the_work(
    server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    error: type[Exception],
    words: str,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    engine = opened(server, key="MY_KEY")
    server.faults.extend([fault] * 4)
    with pytest.raises(error, match=words) as raised:
        list(engine.answers([job(n) for n in range(9)]))
    assert KEY not in str(raised.value)


def test_nobody_there_is_said_after_the_attempts() -> None:
    with chat_server(echo) as server:
        engine = opened(server)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:\d+/v1 cannot be reached.*Start"):
        list(engine.answers([job(1)]))


def test_a_server_that_fails_everything_is_given_up(
    engine: OpenAiBatchEngine, server: ChatServer
) -> None:
    server.faults.extend([Fault("status", 500)] * 1000)
    found = []
    with pytest.raises(UnavailableError, match=r"last 12 requests failed, each 3 times.*500"):
        found.extend(engine.answers([job(n) for n in range(GIVE_UP_AFTER + 20)]))


def test_refusals_for_haste_cost_no_attempt(engine: OpenAiBatchEngine, server: ChatServer) -> None:
    server.faults.extend([Fault("status", 429, "slower", None, "0")] * 10)
    found = all_of(engine, *(job(n) for n in range(3)))
    assert {(answer.status, answer.attempts) for answer in found.values()} == {("ok", 1)}
    server.faults.extend([Fault("status", 429, "slower")] * 3)  # it does not say how long
    assert all_of(engine, job(1))["q1"].attempts == 1


def test_thinking_is_stripped_whichever_way_it_comes(server: ChatServer) -> None:
    ways = {
        "tags": Said("<think>\nHm, 4?\n</think>\n\nFour."),
        "closing": Said("Hm, 4?\n</think>\n\nFour."),
        "field": Said("Four.", thinking="Hm, 4?"),
        "none": Said("<think>\n\n</think>\n\nFour."),
        "cut": Said("<think>\nHm, 4?", finish="length"),
        "other": Said("[THINK]Hm, 4?[/THINK]Four."),
        "quoted": Said("Four: <think> is a tag, </think> another."),
    }
    server.answer = lambda body: ways[body["messages"][-1]["content"]]
    engine = opened(server)
    for streams in (True, False):
        server.streams = streams
        found = all_of(engine, *(Job(n, ({"role": "user", "content": n},), GREEDY) for n in ways))
        replies = {name: answer.reply for name, answer in found.items()}
        split = {name: (r.text, r.thinking) for name, r in replies.items() if r is not None}
        assert split == {
            "tags": ("Four.", "Hm, 4?"), "closing": ("Four.", "Hm, 4?"),
            "field": ("Four.", "Hm, 4?"), "none": ("Four.", ""), "cut": ("", "Hm, 4?"),
            "other": ("Four.", "Hm, 4?"),
            "quoted": ("Four: <think> is a tag, </think> another.", ""),
        }  # fmt: skip


def test_stops_beyond_the_endpoints_are_cut_here(
    engine: OpenAiBatchEngine, server: ChatServer
) -> None:
    server.answer = lambda body: Said("one END two")
    reply = all_of(engine, job(1, stop=("a", "b", "c", "d", "END")))["q1"].reply
    assert reply is not None
    assert (reply.text, reply.finish) == ("one ", "stop")


def test_a_prompt_that_was_cut_is_noticed(engine: OpenAiBatchEngine, server: ChatServer) -> None:
    server.answer = lambda body: Said("Yes.", prompt_tokens=64)
    answer = all_of(engine, job(1, "a long text " * 400))["q1"]
    assert (answer.status, answer.reply) == ("truncated", None)
    assert "read only 64 tokens of 4800 bytes" in answer.error


def test_what_it_costs(server: ChatServer) -> None:
    server.answer = lambda body: Said("Yes.", prompt_tokens=1000, tokens=50)
    engine = opened(server, input_price=2.0, output_price=8.0)
    assert all_of(engine, job(1))["q1"].cost == pytest.approx(0.0024)
    server.faults.extend([Fault("filter")])  # which costs as well
    assert all_of(engine, job(1))["q1"].cost == pytest.approx(0.0048)
    server.faults.extend([Fault("filter"), Fault("status", 500), Fault("status", 500)])
    lost = all_of(engine, job(1))["q1"]
    assert (lost.status, lost.cost) == ("error", pytest.approx(0.0024))
    server.answer = lambda body: Said("Yes.", tokens=None)
    answer = all_of(engine, job(1))["q1"]
    assert (answer.cost, answer.status) == (None, "ok")


def test_the_address_of_the_page_itself_is_understood(server: ChatServer) -> None:
    engine = opened(server, url=f"{server.url}/v1/chat/completions/")
    assert all_of(engine, job(1))["q1"].status == "ok"
    assert engine.identity() == {"engine": "openai", "url": f"{server.url}/v1", "model": "m"}


def test_as_many_at_a_time_as_asked_for_and_no_more(server: ChatServer) -> None:
    meeting = threading.Barrier(3, timeout=20)

    def together(body: dict[str, Any]) -> Said:
        meeting.wait()
        return Said("Yes.")

    server.answer = together
    engine = opened(server, Pace(3, 0))
    assert len(all_of(engine, *(job(n) for n in range(9)))) == 9
    assert server.busiest == 3


def test_closing_the_generator_ends_the_work(engine: OpenAiBatchEngine, server: ChatServer) -> None:
    answers = engine.answers([job(n) for n in range(200)])
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    asked = len(server.requests)
    assert asked < 200
    assert all_of(engine, job(1))["q1"].status == "ok"  # and others can be asked


def test_no_probabilities_are_said(engine: OpenAiBatchEngine) -> None:
    wanted = [Continuations("c", ({"role": "user", "content": "Hi"},), ("a",))]
    (found,) = engine.log_probs(wanted)
    assert (found.status, found.sums) == ("error", ())
    assert "shows no probabilities" in found.error


def test_a_plain_prompt_goes_to_the_model_as_it_stands(server: ChatServer) -> None:
    server.answer = lambda body: Said(f"and {body['prompt']}", top=((b" and", -0.5), (b"x", -2.0)))
    engine = opened(server)
    plain: tuple[Message, ...] = ({"role": PLAIN, "content": "As it stands"},)
    sampling = Sampling(temperature=0.1, max_tokens=50, seed=3)
    found = all_of(engine, Job("p", plain, sampling, think=False, schema={"type": "object"}))
    reply = found["p"].reply
    assert reply is not None
    assert (reply.text, reply.finish) == ("and As it stands", "stop")
    path, body, _ = server.requests[-1]
    assert path == "/v1/completions"
    assert not {"messages", "response_format", "chat_template_kwargs"} & set(body)
    assert (body["prompt"], body["max_tokens"], body["seed"]) == ("As it stands", 50, 3)
    (shown,) = engine.log_probs([Continuations("p", plain, (" and", "no"))])
    assert shown.sums == (-0.5, -math.inf)
