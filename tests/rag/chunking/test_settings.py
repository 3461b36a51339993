"""How documents are cut is chosen once and remembered by the index."""

from __future__ import annotations

import json

import pytest

from loragraft.errors import InputError
from loragraft.rag.chunking.settings import Chunking, choose_chunking
from loragraft.rag.records import Document
from tests.support.minilm import CountingEmbedder

_MINILM = CountingEmbedder()


def test_chunks_are_as_long_as_the_embedder_reads() -> None:
    assert choose_chunking(_MINILM) == Chunking(254, 0)


def test_what_was_asked_goes_before_what_the_index_says() -> None:
    stored = json.loads(json.dumps(Chunking(100, 20).to_json()))
    assert choose_chunking(_MINILM, stored=stored) == Chunking(100, 20)
    assert choose_chunking(_MINILM, tokens=64, stored=stored) == Chunking(64, 20)
    assert choose_chunking(_MINILM, overlap=0, stored=stored) == Chunking(100, 0)


@pytest.mark.parametrize("stored", [{}, {"tokens": "many", "overlap": 0}, {"tokens": True}])
def test_an_index_that_does_not_say_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(InputError, match="--replace"):
        choose_chunking(_MINILM, stored=stored)


@pytest.mark.parametrize("chunking", [Chunking(255), Chunking(31), Chunking(64, 33)])
def test_what_the_embedder_does_not_read_is_refused_before_any_document(chunking: Chunking) -> None:
    with pytest.raises(InputError, match="give a number from"):
        chunking.splitter(_MINILM)
    with pytest.raises(InputError, match="give a number from"):
        choose_chunking(_MINILM, chunking.tokens, chunking.overlap)


def test_a_splitter_cuts_as_chosen() -> None:
    document = Document("d", "d", " ".join(f"Sentence number {n}." for n in range(60)))
    chunks = Chunking(50, 10).splitter(_MINILM)(document)
    assert len(chunks) > 4
    assert max(chunk.tokens for chunk in chunks) <= 50
