"""An Ollama model asked many questions at a time, against a server that answers for real."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loragraft.checkpoint.bundle import open_model
from loragraft.engine.batch.ollama import CountingOllamaEngine, OllamaBatchEngine, digest_of
from loragraft.engine.batch.opening import open_engine
from loragraft.engine.batch.plain import PLAIN
from loragraft.engine.batch.protocol import (
    Answer,
    BatchEngine,
    Continuations,
    CountingEngine,
    Job,
    ProbabilityEngine,
)
from loragraft.engine.batch.remote import Pace
from loragraft.engine.batch.specs import OllamaSpec
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.protocol import Message, Sampling
from loragraft.errors import InputError, OutOfMemoryError, UnavailableError
from tests.support.ollama_server import OllamaStandIn
from tests.support.ollama_store import ANCIENT, NEW, OLD
from tests.support.talking import QUESTIONS, SAYING

GREEDY = Sampling(temperature=0.0, max_tokens=24)
LLAMA2_GO = (
    '{{ range .Messages }}{{ if eq .Role "user" }}[INST] {{ .Content }} [/INST]'
    "{{ else }} {{ .Content }} </s>{{ end }}{{ end }}"
)
OPENED: list[BatchEngine] = []


@pytest.fixture(scope="module")
def bundle(talking_bundle: Callable[[str], Path]) -> Path:
    return talking_bundle("llama")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[OllamaStandIn]:
    """A server with a bundle under "m" that says one sentence."""
    with OllamaStandIn(tmp_path_factory.mktemp("server")) as server:
        with OllamaServer(server.url) as client:
            path = next(bundle.glob("*.gguf"))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            client.upload(path, digest)
            parameters = {"num_ctx": 512, "stop": ["</s>"]}
            client.create("m", {"template": LLAMA2_GO, "parameters": parameters}, digest)
        yield server


@pytest.fixture(autouse=True)
def healthy(stand_in: OllamaStandIn) -> Iterator[None]:
    stand_in.faults.clear()
    stand_in.faults_for.clear()
    stand_in.bodies.clear()
    stand_in.generation = stand_in.store.generation = NEW
    yield
    while OPENED:
        OPENED.pop().close()


def opened(server: OllamaStandIn, needed: int | None = None, **more: Any) -> OllamaBatchEngine:  # noqa: ANN401
    spec = {"kind": "ollama", "model": "m", "host": server.url, "timeout": 60, **more}
    engine = open_engine(OllamaSpec.model_validate(spec), context_needed=needed)
    OPENED.append(engine)
    assert isinstance(engine, OllamaBatchEngine)
    engine._requests._pace = Pace(4, 2, first=0.001, longest=0.01)
    return engine


def said(text: str) -> tuple[Message, ...]:
    return ({"role": "user", "content": text},)


def job(text: str, **more: Any) -> Job:  # noqa: ANN401
    return Job(text, said(text), GREEDY, **more)


def all_of(engine: OllamaBatchEngine, *jobs: Job) -> dict[str, Answer]:
    found = {answer.id: answer for answer in engine.answers(jobs)}
    assert sorted(found) == sorted(job.id for job in jobs)
    return found


def test_the_answers_and_ids_of_the_same_file_in_this_process(
    stand_in: OllamaStandIn, bundle: Path
) -> None:
    engine = opened(stand_in)
    counting: CountingEngine = engine  # type: ignore[assignment]
    assert isinstance(engine, CountingOllamaEngine)
    own = LlamaEngine(open_model(bundle, None), context=512, threads=1)
    found = all_of(engine, *map(job, QUESTIONS))
    for text in QUESTIONS:
        reply, wanted = found[text].reply, own.chat(said(text), GREEDY)
        assert reply is not None
        assert (reply.text.strip(), reply.finish) == (wanted.text.strip(), "stop")
        assert SAYING in reply.text
        ids = counting.prompt_ids(said(text))
        assert ids == own.prompt_ids(said(text))
        assert reply.prompt_tokens == len(ids)
    assert engine.load.tokens == sum(answer.reply.tokens for answer in found.values())  # type: ignore[union-attr]
    own.close()


def test_probabilities_of_first_tokens(stand_in: OllamaStandIn, bundle: Path) -> None:
    engine: ProbabilityEngine = opened(stand_in)
    own = LlamaEngine(open_model(bundle, None), context=512, threads=1)
    numbers = own.next_log_probs(own.prompt_ids(said("lazy")))
    best = int(numbers.argmax())
    text = own.piece(best).decode()
    wanted = [Continuations(str(n), said("lazy"), (text, "never said")) for n in range(6)]
    found = sorted(engine.log_probs(wanted), key=lambda each: each.id)
    assert [each.id for each in found] == [each.id for each in wanted]
    for each in found:
        assert each.sums == (pytest.approx(float(numbers[best])), -math.inf)
    stand_in.generation = ANCIENT
    (none,) = engine.log_probs(wanted[:1])
    assert none.status == "error"
    assert "shows no probabilities" in none.error
    own.close()


def test_a_plain_prompt_goes_to_the_model_as_it_stands(
    stand_in: OllamaStandIn, bundle: Path
) -> None:
    engine = opened(stand_in)
    text = "[INST] lazy [/INST]"
    plain: tuple[Message, ...] = ({"role": PLAIN, "content": text},)
    assert isinstance(engine, CountingOllamaEngine)
    assert engine.prompt_ids(plain) == engine.prompt_ids(said("lazy"))
    reply = all_of(engine, Job("p", plain, GREEDY, think=False))["p"].reply
    assert reply is not None
    assert SAYING in reply.text
    assert reply.prompt_tokens == len(engine.prompt_ids(plain))
    body = stand_in.bodies[-1]
    assert (body["prompt"], body["raw"]) == (text, True)
    assert not {"messages", "think"} & set(body)
    (found,) = engine.log_probs([Continuations("p", plain, ("x",))])
    (same,) = engine.log_probs([Continuations("p", said("lazy"), ("x",))])
    assert found == same
    assert found.status == "ok"


def test_everything_is_said_with_each_question(stand_in: OllamaStandIn) -> None:
    engine = opened(stand_in, 700)
    assert engine.context == 768  # a multiple, so that one token more loads nothing anew
    sampling = Sampling(temperature=0, seed=2**40 + 7, max_tokens=2, stop=("END",))
    all_of(engine, Job("q", said("lazy"), sampling, think=False, schema={"type": "object"}))
    body = stand_in.bodies[-1]
    assert body["options"] == {
        "temperature": 0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0,
        "seed": 7, "num_predict": 2, "num_ctx": 768, "stop": ["</s>", "END"],
    }  # fmt: skip
    assert (body["think"], body["format"], body["truncate"]) == (False, {"type": "object"}, False)
    assert opened(stand_in, 700, context=100).context == 100
    assert opened(stand_in).context == 512  # the model's own


@pytest.mark.parametrize("generation", [ANCIENT, OLD, NEW])
def test_a_prompt_that_was_cut_is_an_error(stand_in: OllamaStandIn, generation: Any) -> None:  # noqa: ANN401
    stand_in.generation = generation
    engine = opened(stand_in)
    assert isinstance(engine, CountingOllamaEngine) == generation.shows_render
    text = "the quick brown fox jumps over 16 lazy dogs. " * 9
    stand_in.faults["num_ctx"] = 64  # which a server may do in spite of what it is asked
    found = all_of(engine, job(text), job("lazy"))
    assert found["lazy"].status == "ok"
    cut = found[text]
    assert (cut.status, cut.attempts) == ("error" if generation is NEW else "truncated", 2)
    assert re.search(r"read \d+ tokens of a prompt of \d+|exceeds the context", cut.error)


def test_a_prompt_that_cannot_fit_is_not_sent(stand_in: OllamaStandIn) -> None:
    engine = opened(stand_in, context=64)
    text = "the quick brown fox jumps over 16 lazy dogs. " * 9
    answer = all_of(engine, job(text))[text]
    assert answer.status == "error"
    assert re.search(r"has \d+ tokens and more, and the context 64", answer.error)
    assert all("num_predict" not in str(body) or text not in str(body) for body in stand_in.bodies)


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("garbage", "error", "a web page|of Ollama's form"),
        ("busy", "error", "server busy"),
        ("die", "error", "broke during"),
        ("crash", "error", "llama runner process has terminated"),
        ("hang", "timeout", "fell silent"),
    ],
)
def test_a_fault_costs_only_its_own_question(
    stand_in: OllamaStandIn, fault: str, status: str, words: str
) -> None:
    engine = opened(stand_in, timeout=2 if fault == "hang" else 60)
    engine._requests._pace = Pace(4, 1, first=0.001, longest=0.01)
    stand_in.faults_for = {"word 1": [fault], "jumps": [fault] * 2}
    found = all_of(engine, *map(job, QUESTIONS))
    attempts = {text: (answer.status, answer.attempts) for text, answer in found.items()}
    one, jumps, *others = QUESTIONS
    assert attempts == {one: ("ok", 2), jumps: (status, 2), **dict.fromkeys(others, ("ok", 1))}
    assert re.search(words, found[jumps].error), found[jumps].error


def test_what_concerns_all_questions_ends_the_work(stand_in: OllamaStandIn) -> None:
    engine = opened(stand_in)
    stand_in.faults["no_memory"] = True
    with pytest.raises(OutOfMemoryError, match="smaller"):
        list(engine.answers([*map(job, QUESTIONS)]))


def test_no_such_model_and_no_server(stand_in: OllamaStandIn, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model 'other'"):
        opened(stand_in, model="other")
    with OllamaStandIn(tmp_path) as gone:
        url = gone.url
    with pytest.raises(UnavailableError, match="No Ollama answers"):
        opened(stand_in, host=url)


def test_a_server_that_goes_away_ends_the_work(tmp_path: Path, bundle: Path) -> None:
    with OllamaStandIn(tmp_path) as server:
        path = next(bundle.glob("*.gguf"))
        with OllamaServer(server.url) as client:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            client.upload(path, digest)
            client.create("m", {"template": LLAMA2_GO}, digest)
        engine = opened(server)
    with pytest.raises(UnavailableError, match="No Ollama answers"):
        list(engine.answers([*map(job, QUESTIONS)]))


def test_who_it_is(stand_in: OllamaStandIn) -> None:
    identity = opened(stand_in).identity()
    digest = stand_in.store.list()[0]["digest"]
    assert identity == {
        "engine": "ollama", "model": "m", "digest": digest, "version": "0.32.15", "concurrency": 4,
    }  # fmt: skip
    assert opened(stand_in, context=256).identity() == {**identity, "context": 256}


def test_digests_are_found_whichever_way_a_name_is_spelled() -> None:
    models = [{"name": "qwen2.5:0.5b", "digest": "a"}, {"name": "m:latest", "digest": "b"}]
    spellings = ("M", "m:latest", "library/m", "registry.ollama.ai/library/m:latest")
    assert {digest_of(name, models) for name in spellings} == {"b"}
    assert digest_of("qwen2.5:0.5b", models) == "a"
    assert digest_of("qwen2.5", models) is None


def test_thinking_is_stripped_whichever_way_it_comes(
    stand_in: OllamaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: dict[str, list[dict[str, str]]] = {
        "tags": [{"content": "<thi"}, {"content": "nk>Hm</think>"}, {"content": "\n\nFour."}],
        "field": [{"thinking": "Hm"}, {"content": "Four."}],
        "closing": [{"content": "Hm</think>Four."}],
    }

    def chat(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for part in ways[body["messages"][0]["content"]]:
            yield {"message": part, "done": False}
        yield {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 9}

    engine = opened(stand_in)
    monkeypatch.setattr(stand_in, "chat", chat)
    for answer in all_of(engine, *map(job, ways)).values():
        assert answer.reply is not None
        assert (answer.reply.text, answer.reply.thinking) == ("Four.", "Hm")
        assert answer.reply.tokens == 9


@pytest.mark.slow
def test_a_vocabulary_that_is_none_is_done_without(
    stand_in: OllamaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shown in (
        {},
        {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": None},
        {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["a", 7]},
        {"tokenizer.ggml.model": "nonsense", "tokenizer.ggml.tokens": ["a", "b"]},
        {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a"] * 9,
         "tokenizer.ggml.merges": ["x y z"], "tokenizer.ggml.eos_token_id": 2**31},
    ):  # fmt: skip
        monkeypatch.setattr(stand_in.store, "vocabulary", lambda digest, shown=shown: shown)
        engine = opened(stand_in)
        assert type(engine) is OllamaBatchEngine, shown
        assert all_of(engine, job("lazy"))["lazy"].status == "ok"


def test_characters_are_composed_where_the_models_own_tokenizer_does(
    stand_in: OllamaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = "Cafe\u0301"
    found = stand_in.store.vocabulary(stand_in.store.load("m")["layer"]["digest"])
    for pre, sent in (("default", apart), ("qwen2", "Caf\u00e9")):
        shown = {**found, "tokenizer.ggml.pre": pre}
        monkeypatch.setattr(stand_in.store, "vocabulary", lambda digest, shown=shown: shown)
        engine = opened(stand_in)
        assert all_of(engine, job(apart))[apart].status == "ok"
        assert stand_in.bodies[-1]["messages"][0]["content"] == sent
