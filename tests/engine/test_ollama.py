"""An Ollama model as an engine, against a server that answers by llama.cpp on the real file."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from loragraft.engine import ollama_transport
from loragraft.engine.ollama import DEFAULT_CONTEXT, OllamaEngine, _context
from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.ollama_shown import parse_shown
from loragraft.engine.protocol import ChatEngine, Message, Sampling
from loragraft.errors import InputError, LoragraftError, UnavailableError
from tests.support.ollama_server import OllamaStandIn
from tests.support.ollama_store import ANCIENT, NEW, OLD
from tests.support.talking import SAYING

GREEDY = Sampling(temperature=0, max_tokens=24)
QUESTION: list[Message] = [{"role": "user", "content": "What is the capital of France?"}]
LLAMA2_GO = (
    '{{ range .Messages }}{{ if eq .Role "user" }}[INST] {{ .Content }} [/INST]'
    "{{ else }} {{ .Content }} </s>{{ end }}{{ end }}"
)


@pytest.fixture(scope="module")
def stand_in(
    tmp_path_factory: pytest.TempPathFactory, talking_bundle: Callable[[str], Path]
) -> Iterator[OllamaStandIn]:
    """A server with a bundle under "m" that says one sentence."""
    with OllamaStandIn(tmp_path_factory.mktemp("server")) as server:
        with OllamaServer(server.url) as client:
            path = next(talking_bundle("llama").glob("*.gguf"))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            client.upload(path, digest)
            parameters = {"num_ctx": 512, "stop": ["</s>"]}
            client.create("m", {"template": LLAMA2_GO, "parameters": parameters}, digest)
        yield server


@pytest.fixture(autouse=True)
def healthy(stand_in: OllamaStandIn) -> None:
    stand_in.faults.clear()
    stand_in.bodies.clear()
    stand_in.generation = stand_in.store.generation = NEW


@pytest.fixture
def engine(stand_in: OllamaStandIn) -> Iterator[OllamaEngine]:
    with OllamaServer(stand_in.url) as server:
        yield OllamaEngine("m", server)


def test_an_answer(engine: OllamaEngine) -> None:
    heard: list[tuple[str, bool]] = []
    as_protocol: ChatEngine = engine
    reply = as_protocol.chat(QUESTION, GREEDY, on_text=lambda text, t: heard.append((text, t)))
    assert SAYING in reply.text
    assert "".join(text for text, _ in heard) == reply.text
    assert not any(thinking for _, thinking in heard)
    assert (reply.finish, reply.thinking) == ("stop", "")
    assert reply.prompt_tokens > reply.tokens > 3
    assert reply.tokens_per_second is not None
    assert (engine.name, engine.context) == ("m", 512)


def test_everything_is_said_and_the_models_own_stops_are_kept(
    engine: OllamaEngine, stand_in: OllamaStandIn
) -> None:
    engine.chat(QUESTION, Sampling(stop=("END",), max_tokens=1))
    options = stand_in.bodies[-1]["options"]
    assert options == {
        "temperature": 0.7, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0,
        "seed": -1, "num_predict": 1, "num_ctx": 512, "stop": ["</s>", "END"],
    }  # fmt: skip


def test_the_same_answer_from_servers_with_other_defaults(
    engine: OllamaEngine, stand_in: OllamaStandIn
) -> None:
    new = engine.chat(QUESTION, GREEDY).text
    stand_in.generation = stand_in.store.generation = OLD  # whose repeat_penalty is 1.1
    assert engine.chat(QUESTION, GREEDY).text == new


def test_why_an_answer_ends(engine: OllamaEngine, stand_in: OllamaStandIn) -> None:
    assert engine.chat(QUESTION, Sampling(temperature=0, max_tokens=2)).finish == "length"
    assert engine.chat(QUESTION, Sampling(temperature=0, stop=("well",))).finish == "stop"
    stand_in.faults["endless"] = True
    with OllamaServer(stand_in.url) as server:
        small = OllamaEngine("m", server, context=64)
        assert small.chat(QUESTION, Sampling(temperature=0, max_tokens=500)).finish == "context"


def test_an_interruption_keeps_what_was_said(engine: OllamaEngine) -> None:
    def interrupt(text: str, thinking: bool) -> None:
        raise KeyboardInterrupt

    reply = engine.chat(QUESTION, GREEDY, on_text=interrupt)
    assert reply.finish == "cancelled"
    assert reply.text
    assert SAYING in engine.chat(QUESTION, GREEDY).text


def test_thinking_is_refused_where_the_template_knows_none(engine: OllamaEngine) -> None:
    with pytest.raises(InputError, match=r"does not support thinking.*--think"):
        engine.chat(QUESTION, GREEDY, think=True)
    assert SAYING in engine.chat(QUESTION, GREEDY, think=False).text


@pytest.mark.parametrize("generation", [ANCIENT, OLD, NEW])
def test_a_prompt_that_does_not_fit_is_never_cut_in_silence(
    engine: OllamaEngine, stand_in: OllamaStandIn, generation: object
) -> None:
    stand_in.generation = generation  # type: ignore[assignment]
    long: list[Message] = [{"role": "user", "content": "tell me of the sea. " * 700}]
    with pytest.raises(InputError, match=r"exceeds the context|read only|would drop the beginning"):
        engine.chat(long, GREEDY)


def test_a_conversation_that_outgrows_the_context_is_noticed(stand_in: OllamaStandIn) -> None:
    stand_in.generation = OLD
    one = Sampling(temperature=0, max_tokens=1)
    talk: list[Message] = []

    def turn() -> None:
        talk.append({"role": "user", "content": "tell me of the sea. " * 8})
        engine.chat(talk, one)
        talk.append({"role": "assistant", "content": "It is wide."})

    with OllamaServer(stand_in.url) as server:
        engine = OllamaEngine("m", server, context=400)
        turn()
        turn()
        with pytest.raises(InputError, match=r"would drop the beginning.*/reset"):
            turn()


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"cut_after_two": "/api/chat"}, "broke during an answer|in the middle"),
        ({"fail_after_two": "/api/chat"}, "runner process has terminated.*log"),
        ({"huge_line": True}, "a piece of more than"),
        ({"hang_after_two": "/api/chat"}, "fell silent during an answer"),
        ({"busy": 1}, "busy.*wait"),
        ({"html": 200}, "a web page"),
    ],
)
def test_answers_that_break(
    engine: OllamaEngine,
    stand_in: OllamaStandIn,
    monkeypatch: pytest.MonkeyPatch,
    faults: dict[str, object],
    reason: str,
) -> None:
    monkeypatch.setattr(ollama_transport, "PIECE_SECONDS", 0.5)
    stand_in.faults.update(faults)
    with pytest.raises(LoragraftError, match=reason):
        engine.chat(QUESTION, GREEDY)


def test_an_answer_that_never_ends_is_ended(
    stand_in: OllamaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]  # a clock of its own: how long this machine takes decides nothing
    clock = SimpleNamespace(monotonic=lambda: passed[0], sleep=time.sleep)
    monkeypatch.setattr(ollama_transport, "time", clock)

    def let_pass(text: str, thinking: bool) -> None:
        passed[0] += 50

    stand_in.faults.update(endless=True)
    with OllamaServer(stand_in.url, timeout=120.0) as server:
        engine = OllamaEngine("m", server)
        with pytest.raises(UnavailableError, match="did not end an answer of m within 120 seconds"):
            engine.chat(QUESTION, Sampling(max_tokens=400), on_text=let_pass)
    assert passed == [150.0]


def test_a_model_that_is_not_there(stand_in: OllamaStandIn) -> None:
    with (
        OllamaServer(stand_in.url) as server,
        pytest.raises(InputError, match="has no model 'nobody'"),
    ):
        OllamaEngine("nobody", server)


def test_rendering_and_next_tokens(engine: OllamaEngine, stand_in: OllamaStandIn) -> None:
    with OllamaServer(stand_in.url) as server:
        text = server.render("m", QUESTION)
        assert text == "[INST] What is the capital of France? [/INST]"
        chances = server.next_tokens("m", QUESTION, 5)
        assert chances is not None
        assert len(chances) == 5
        assert SAYING.startswith(chances[0].text.strip())
        assert chances[0].text.strip()
        assert chances[0].log_prob > chances[1].log_prob


@pytest.mark.parametrize("said", ["nan", "inf", "-inf", "-1", "0", "1e300", "many"])
def test_a_context_that_is_none_is_not_taken(said: str) -> None:
    assert _context(parse_shown(f"num_ctx                        {said}")) == DEFAULT_CONTEXT
    assert _context(parse_shown("num_ctx                        2048")) == 2048
