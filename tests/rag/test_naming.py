"""Embedders as people name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.embedding.spec import EmbedderSpec
from loragraft.errors import InputError
from loragraft.rag.naming import name_embedder, name_stored


def test_nothing_said_leaves_what_is_known() -> None:
    known = EmbedderSpec("model", adapter="a", query_prompt="query: ")
    assert name_embedder(None, None, known) == known
    assert name_embedder(None) == EmbedderSpec()
    assert name_embedder("other", None, known).adapter == "a"
    assert name_embedder("other", "b", known).query_prompt == "query: "


def test_an_endpoint_is_a_url_with_its_model() -> None:
    spec = name_embedder("https://host:8080/v1#owner/model:tag")
    assert (spec.kind, spec.url, spec.name) == ("openai", "https://host:8080/v1", "owner/model:tag")
    with pytest.raises(InputError, match="behind a #"):
        name_embedder("http://host/v1")


def test_ollama_may_take_over_from_an_endpoint() -> None:
    known = EmbedderSpec("model", kind="openai", url="http://host/v1")
    spec = name_embedder("ollama:model", None, known)
    assert (spec.kind, spec.name, spec.url) == ("auto", "ollama:model", None)


def test_what_moved_is_asked_for_by_its_option(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    with pytest.raises(InputError, match="--embedder FOLDER"):
        name_stored(EmbedderSpec(gone))
    with pytest.raises(InputError, match="--embedder-adapter FOLDER"):
        name_stored(EmbedderSpec("owner/name", adapter=gone))
    assert name_stored(EmbedderSpec(gone, adapter=gone), "new", "b").name == "new"
    assert name_stored(EmbedderSpec("owner/name")).name == "owner/name"
