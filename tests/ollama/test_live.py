"""The whole way: a pico on a stand-in, and SmolLM2 on a live server where OLLAMA_HOST is set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loragraft.checkpoint.bundle import LocalModel
from loragraft.engine.ollama import OllamaEngine
from loragraft.engine.ollama_server import OllamaServer
from loragraft.engine.protocol import Sampling
from loragraft.ollama.overrides import Overrides
from loragraft.ollama.record import Record
from loragraft.ollama.register import register
from loragraft.ollama.remove import remove
from loragraft.ollama.verify import verify
from tests.support.ollama_server import OllamaStandIn

LIVE = os.environ.get("OLLAMA_HOST")
NAME = "loragraft-live-test"


@pytest.fixture(
    params=[
        "stand-in",
        pytest.param(
            "live",
            marks=[
                pytest.mark.ollama,
                pytest.mark.skipif(not LIVE, reason="needs a server: set OLLAMA_HOST"),
            ],
        ),
    ]
)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OllamaServer]:
    """A server."""
    if request.param == "live":
        with OllamaServer(LIVE) as found:
            yield found
    else:
        with OllamaStandIn(tmp_path / "server") as stand_in, OllamaServer(stand_in.url) as found:
            yield found


@pytest.fixture
def served(request: pytest.FixtureRequest) -> tuple[LocalModel, str]:
    """A bundle, and a word of its answer."""
    if request.node.callspec.params["server"] == "live":
        return request.getfixturevalue("smollm2"), "Paris"
    return request.getfixturevalue("model"), "well"


def names(server: OllamaServer) -> list[dict[str, Any]]:
    """Return what the server lists, without times."""
    listed = ({key: one[key] for key in ("name", "digest")} for one in server.models())
    return sorted(listed, key=lambda one: str(one["name"]))


@pytest.mark.slow
def test_register_verify_chat_replace_remove(
    server: OllamaServer, served: tuple[LocalModel, str], record: Record
) -> None:
    model, word = served
    before = names(server)
    first = Overrides(parameters={"num_ctx": 512})
    done = register(model, server, name=NAME, overrides=first, record=record)
    assert done.entry.blob == model.digests[model.gguf.name]
    assert [one for one in names(server) if one not in before] == [
        {"name": f"{NAME}:latest", "digest": done.entry.manifest}
    ]
    assert verify(NAME, model, server, overrides=first).holds
    reply = OllamaEngine(NAME, server).chat(
        [{"role": "user", "content": "What is the capital of France?"}],
        Sampling(temperature=0, max_tokens=64),
    )
    assert word in reply.text
    assert reply.finish == "stop"
    second = Overrides(parameters={"num_ctx": 384}, system="You answer in one sentence.")
    again = register(
        model, server, name=NAME, overrides=second, replace_existing=True, record=record
    )
    assert again.entry.manifest != done.entry.manifest
    assert len(names(server)) == len(before) + 1
    assert remove(NAME, server, record=record).removed
    assert names(server) == before
