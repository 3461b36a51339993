"""Retrieval: every mode, filters, reranking, and questions that nobody should ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loragraft.embedding.protocol import Embedder
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions
from loragraft.rag.index.store import Index, open_index
from loragraft.rag.search.lexical import LEXICAL, write_lexical
from loragraft.rag.search.retrieve import MODES, Mode, Retriever
from tests.support.small_index import make_documents, splitter


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, static: Embedder) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("search") / "index"
    options = BuildOptions(parts={LEXICAL: write_lexical})
    build_index(folder, make_documents(40), static, splitter(static), options=options)
    with open_index(folder) as opened:
        yield opened


@pytest.mark.parametrize("mode", MODES)
def test_finds_what_the_question_names(index: Index, static: Embedder, mode: Mode) -> None:
    retriever = Retriever(index, static, mode=mode)
    chunk = index.chunks([17])[0]
    passages = retriever.retrieve(chunk.text, 5)
    assert passages[0].chunk == chunk
    assert [passage.rank for passage in passages] == [1, 2, 3, 4, 5]
    scores = [passage.score for passage in passages]
    assert scores == sorted(scores, reverse=True)
