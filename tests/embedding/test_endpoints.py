"""Embedders behind HTTP: the same vectors, faults in words, nothing cut in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loragraft.embedding import openai
from loragraft.embedding.opening import open_embedder
from loragraft.embedding.spec import EmbedderSpec
from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError, NonFiniteError, UnavailableError
from loragraft.rag.index.filling import check_vectors
from loragraft.rag.naming import name_embedder
from tests.support.embedding_server import EmbeddingServer, embedding_server
from tests.support.small_index import build_static

TEXTS = ["the river and the stone", "violin", "a lamp in the winter garden of the harbour"]


@pytest.fixture
def server(static: StaticEmbedder) -> Iterator[EmbeddingServer]:
    with embedding_server(static) as running:
        yield running


def _spec(kind: str, server: EmbeddingServer, **options: object) -> EmbedderSpec:
    url = server.url + ("/v1" if kind == "openai" else "")
    return EmbedderSpec(f"{kind}:small", url=url, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_gives_unit_vectors_in_order(
    kind: str, server: EmbeddingServer, static: StaticEmbedder
) -> None:
    embedder = open_embedder(_spec(kind, server, batch=2))
    np.testing.assert_allclose(embedder.embed(TEXTS), static.embed(TEXTS), atol=1e-6)
    assert embedder.name == "small"
    assert embedder.dimensions == static.dimensions
    embedder.close()


def test_ollama_tells_its_limit_and_digest(server: EmbeddingServer) -> None:
    embedder = open_embedder(_spec("ollama", server))
    assert embedder.max_tokens == 62
    assert embedder.identity == {"kind": "ollama", "model": "d1"}
    embedder.embed(TEXTS)
    bodies = [body for path, body, _ in server.requests if path == "/api/embed"]
    assert all(body["truncate"] is False for body in bodies)
    with pytest.raises(InputError):
        open_embedder(EmbedderSpec("ollama:missing", url=server.url))
    embedder.close()


def test_prompts_stand_before_texts(server: EmbeddingServer) -> None:
    spec = _spec("openai", server, query_prompt="query: ", document_prompt="passage: ")
    embedder = open_embedder(spec)
    embedder.embed(["river"], query=True)
    embedder.embed(["river"])
    assert [body["input"] for _, body, _ in server.requests] == [
        ["query: river"], ["passage: river"],
    ]  # fmt: skip
    assert "prompts" in embedder.identity
    embedder.close()


def test_the_key_is_sent_and_never_shown(
    server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    spec = _spec("openai", server, api_key_env="MY_KEY")
    embedder = open_embedder(spec)
    embedder.embed(["river"])
    assert server.requests[0][2]["authorization"] == "Bearer secret-1"
    assert "secret-1" not in str(spec.to_json()) + str(dict(embedder.identity))
    server.failures = [401]
    with pytest.raises(UnavailableError, match="MY_KEY") as caught:
        embedder.embed(["river"])
    assert "secret-1" not in str(caught.value)
    embedder.close()


def test_passing_faults_are_tried_again(
    server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "_FIRST_WAIT", 0.0)
    embedder = open_embedder(_spec("openai", server))
    server.failures = [503, 429]
    assert len(embedder.embed(["river"])) == 1
    server.failures = [503] * 9
    with pytest.raises(UnavailableError, match="503"):
        embedder.embed(["river"])
    assert len(server.requests) == 3 + 4
    embedder.close()


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []}, {"data": "x"}, {}, [], b"<html>", b"",
        {"data": [{"index": 0, "embedding": ["a"]}]},
        {"data": [{"index": 5, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": []}]},
        {"data": [{"index": 0, "embedding": None}]},
        {"data": [7]},
    ],
)  # fmt: skip
def test_nonsense_is_refused(server: EmbeddingServer, answer: object) -> None:
    server.answer = answer
    embedder = open_embedder(_spec("openai", server))
    with pytest.raises(UnavailableError):
        embedder.embed(["river"])
    embedder.close()


@pytest.mark.parametrize("value", [1e39, float("nan"), float("inf")])
def test_numbers_that_are_none_reach_nobody(server: EmbeddingServer, value: float) -> None:
    server.answer = {"data": [{"index": 0, "embedding": [value, 1.0]}]}
    embedder = open_embedder(_spec("openai", server))
    with pytest.raises(NonFiniteError):
        check_vectors(embedder.embed(["river"]), 1, 2, embedder.name)
    embedder.close()


def test_large_numbers_are_normalised(server: EmbeddingServer) -> None:
    server.answer = {"data": [{"index": 0, "embedding": [3e30, 4e30]}]}
    embedder = open_embedder(_spec("openai", server))
    np.testing.assert_allclose(embedder.embed(["river"]), [[0.6, 0.8]], rtol=1e-6)
    embedder.close()


def test_other_dimensions_on_the_way_are_refused(server: EmbeddingServer, tmp_path: Path) -> None:
    wide = StaticEmbedder(build_static(tmp_path / "wide", dimensions=30), "wide")
    embedder = open_embedder(_spec("openai", server, batch=1))

    def change(_done: int) -> None:
        server.embedder = wide

    with pytest.raises(UnavailableError, match="24 dimensions, then of 30"):
        embedder.embed(TEXTS, on_done=change)
    embedder.close()


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_a_text_that_is_too_long_is_refused(kind: str, server: EmbeddingServer) -> None:
    embedder = open_embedder(_spec(kind, server))
    server.longest = 100
    with pytest.raises((InputError, UnavailableError), match="length"):
        embedder.embed(["river " * 100])
    embedder.close()


def test_says_that_nobody_is_there() -> None:
    embedder = open_embedder(EmbedderSpec("openai:x", url="http://127.0.0.1:9/v1"))
    with pytest.raises(UnavailableError, match="cannot be reached"):
        embedder.embed(["river"])
    embedder.close()
    with pytest.raises(UnavailableError):
        open_embedder(EmbedderSpec("ollama:x", url="http://127.0.0.1:9"))


@pytest.mark.parametrize("url", ["http://[::1", "http://host:99999/v1", "http://host:x/v1"])
def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"Give it as in http://"):
        open_embedder(name_embedder(f"{url}#model"))


def test_an_answer_nested_without_end_is_no_answer(server: EmbeddingServer) -> None:
    server.answer = b"[" * 200_000
    embedder = open_embedder(EmbedderSpec("small", kind="openai", url=server.url))
    with pytest.raises(UnavailableError, match="does not answer in JSON"):
        embedder.embed(["river"])
    embedder.close()
