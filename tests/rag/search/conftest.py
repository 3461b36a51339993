"""Indexes with search by words, of small collections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from loragraft.embedding.protocol import Embedder
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions
from loragraft.rag.index.store import Index, open_index
from loragraft.rag.records import Document
from tests.support.small_index import make_documents, splitter
from tests.support.small_search import WITH_WORDS, Make


@pytest.fixture
def make_index(tmp_path: Path, static: Embedder) -> Iterator[Make]:
    """Build an index of documents and open it."""
    opened: list[Index] = []

    def make(documents: Sequence[Document], options: BuildOptions = WITH_WORDS) -> Index:
        folder = tmp_path / f"index{len(opened)}"
        build_index(folder, documents, static, splitter(static), options=options)
        opened.append(open_index(folder))
        return opened[-1]

    yield make
    for index in opened:
        index.close()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, static: Embedder) -> Iterator[Index]:
    """Forty documents of random words."""
    folder = tmp_path_factory.mktemp("search") / "index"
    build_index(folder, make_documents(40), static, splitter(static), options=WITH_WORDS)
    with open_index(folder) as opened:
        yield opened
