"""An index refuses questions from another embedder, also behind an endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragraft.embedding.opening import open_embedder
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import EmbedderSpec
from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions
from loragraft.rag.index.sameness import open_embedder_of, require_same_embedder
from loragraft.rag.index.store import open_index
from tests.support.embedding_server import embedding_server
from tests.support.small_index import build_static, make_documents, splitter


def test_the_embedder_of_an_index_opens_again(
    static_folder: Path, static: Embedder, tmp_path: Path
) -> None:
    options = BuildOptions(spec=EmbedderSpec(str(static_folder)).to_json())
    split = splitter(static)
    build_index(tmp_path / "index", make_documents(3), static, split, options=options)
    other = build_static(tmp_path / "other", seed=1)
    with open_index(tmp_path / "index") as index:
        assert open_embedder_of(index).identity == static.identity
        with pytest.raises(InputError, match="model differ"):
            open_embedder_of(index, EmbedderSpec(str(other)))


def test_an_endpoint_is_known_by_what_it_computes(static: Embedder, tmp_path: Path) -> None:
    other = StaticEmbedder(build_static(tmp_path / "other", seed=1), "other")
    with embedding_server(static) as server:
        spec = EmbedderSpec("openai:small", url=f"{server.url}/v1")
        embedder = open_embedder(spec)
        options = BuildOptions(spec=spec.to_json())
        split = splitter(embedder)
        build_index(tmp_path / "index", make_documents(3), embedder, split, options=options)
        with open_index(tmp_path / "index") as index:
            require_same_embedder(index, embedder)
            server.embedder = other
            with pytest.raises(InputError, match="another model answers now"):
                open_embedder_of(index)
        embedder.close()
