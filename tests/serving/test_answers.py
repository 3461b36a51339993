"""An answer that nobody waits for any more is ended, and nothing computes on a freed model."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from llama_cpp.server import app as server_app
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from loragraft.checkpoint.bundle import open_model
from loragraft.serving.app import Served, Serving, build_app
from loragraft.serving.requests import CHAT
from tests.support.talking import SAYING

WAIT_SECONDS = 60
URL = "http://localhost"
USER = [{"role": "user", "content": "lazy"}]
ENDLESS = {"messages": USER, "logit_bias": {"0": 100}, "max_tokens": 200, "temperature": 0}
"""One token after another until it is ended."""


@pytest.fixture
def own(talking_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server that a test may end."""
    monkeypatch.setattr(server_app, "_llama_proxy", None)
    served = build_app(open_model(talking_bundle("qwen3")), Serving(threads=1))
    yield served
    served.close()


def after_tokens(
    monkeypatch: pytest.MonkeyPatch, served: Served, count: int, act: Callable[[], None]
) -> list[int]:
    """Do something once so many tokens were chosen; return the list that they fill."""
    tokens: list[int] = []
    sample = served.llama.sample

    def listen(*arguments: Any, **options: Any) -> int:  # noqa: ANN401
        tokens.append(int(sample(*arguments, **options)))
        if len(tokens) == count:
            act()
        return tokens[-1]

    monkeypatch.setattr(served.llama, "sample", listen)
    return tokens


def ask_and_hang_up(served: Served, body: Any, hang_up: Event) -> list[Any]:  # noqa: ANN401
    """Ask as a web server does, and hang up when told; return what was sent back."""
    sent: list[Any] = []
    waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Any:  # noqa: ANN401
        if waiting:
            return waiting.pop()
        while not hang_up.is_set():
            await asyncio.sleep(0.001)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:  # noqa: ANN401
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "path": CHAT, "raw_path": CHAT.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }  # fmt: skip
    asyncio.run(served.app(scope, receive, send))  # type: ignore[arg-type]
    return sent


def noticed(served: Served, hang_up: Event) -> None:
    """Hang up, and wait until the server has noticed."""
    hang_up.set()
    gone = served.answers._gone
    assert gone is not None
    assert gone.wait(WAIT_SECONDS)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_ends_its_answer(
    qwen: Served, client: TestClient, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    hang_up = Event()
    with monkeypatch.context() as patch:
        tokens = after_tokens(patch, qwen, 3, lambda: noticed(qwen, hang_up))
        ask_and_hang_up(qwen, {**ENDLESS, "stream": stream}, hang_up)
    assert len(tokens) in (3, 4)
    gc.collect()  # the server leaves a stream of its own unclosed
    answer = client.post(CHAT, json={"messages": USER, "temperature": 0})
    assert answer.json()["choices"][0]["message"]["content"] == SAYING


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_ends_the_reading_of_its_prompt(
    qwen: Served, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    hang_up, steps = Event(), []
    read = qwen.answers._eval

    def listen(tokens: Sequence[int]) -> None:
        steps.append(len(tokens))
        read(tokens)
        noticed(qwen, hang_up)

    monkeypatch.setattr(qwen.answers, "_eval", listen)
    long = [{"role": "user", "content": f"{'bc'[stream]}7" * 200}]
    ask_and_hang_up(qwen, {**ENDLESS, "messages": long, "stream": stream}, hang_up)
    assert steps == [256]
    gc.collect()


def test_ending_the_server_ends_answers_and_refuses_others(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TestClient(own.app, base_url=URL)
    tokens = after_tokens(monkeypatch, own, 3, own.answers.stop.set)
    assert client.post(CHAT, json=ENDLESS).status_code == 200
    assert len(tokens) in (3, 4)
    for stream in (False, True):
        refused = client.post(CHAT, json={**ENDLESS, "stream": stream})
        assert refused.status_code == 503
        assert "shutting down" in refused.json()["error"]["message"]


def test_the_model_is_freed_only_when_nothing_computes(
    own: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TestClient(own.app, base_url=URL)
    closing = Thread(target=own.close)
    after_tokens(monkeypatch, own, 3, closing.start)
    assert client.post(CHAT, json=ENDLESS).status_code == 200
    closing.join(WAIT_SECONDS)
    assert not closing.is_alive()
    own.answers.stop.clear()  # as if the request had come in just before
    assert client.post(CHAT, json=ENDLESS).status_code == 503
    with pytest.raises(HTTPException, match="shutting down"):
        own.llama.create_completion([1], max_tokens=1)
