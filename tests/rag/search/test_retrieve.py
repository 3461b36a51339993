"""Retrieval: every mode, filters, reranking, and questions that nobody should ask."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.embedding.protocol import Embedder
from loragraft.errors import InputError, UnavailableError
from loragraft.rag.index.dense import Floats
from loragraft.rag.index.options import BuildOptions
from loragraft.rag.index.store import Index, open_index
from loragraft.rag.index.update import update_index
from loragraft.rag.search.filters import parse_filter
from loragraft.rag.search.fuse import Weights
from loragraft.rag.search.lexical import LEXICAL
from loragraft.rag.search.retrieve import MODES, Mode, Retriever
from tests.support.small_index import make_documents, splitter
from tests.support.small_search import WITH_WORDS, Make, document


def no_embedder() -> Embedder:
    raise AssertionError("the embedder is not to be opened")


@pytest.mark.parametrize("mode", MODES)
def test_finds_what_the_question_names(index: Index, static: Embedder, mode: Mode) -> None:
    retriever = Retriever(index, static, mode=mode)
    chunk = index.chunks([17])[0]
    passages = retriever.retrieve(chunk.text, 5)
    assert passages[0].chunk == chunk
    assert [passage.rank for passage in passages] == [1, 2, 3, 4, 5]
    scores = [passage.score for passage in passages]
    assert scores == sorted(scores, reverse=True)
    for passage in passages:
        assert (passage.dense is None) == (mode == "lexical")
        assert (passage.lexical is None) == (mode == "dense")


def test_hybrid_is_the_default_and_says_what_each_search_says(
    index: Index, static: Embedder
) -> None:
    question = "the violin and the ferry 7"
    hybrid = Retriever(index, static)
    assert hybrid.mode == "hybrid"
    dense = Retriever(index, static, mode="dense").retrieve(question, len(index))
    lexical = Retriever(index, static, mode="lexical").retrieve(question, len(index))
    near = {passage.chunk.chunk_id: passage.dense for passage in dense}
    worded = {passage.chunk.chunk_id: passage.lexical for passage in lexical}
    for passage in hybrid.retrieve(question, 10):
        assert passage.dense == pytest.approx(near[passage.chunk.chunk_id], abs=1e-6)
        assert passage.lexical == pytest.approx(worded.get(passage.chunk.chunk_id, 0.0))
        assert 0 < passage.score <= 1


def test_weights_lead_from_one_search_to_the_other(index: Index, static: Embedder) -> None:
    question = "a magnet and a poem in winter"

    def ids(found: Retriever) -> list[str]:
        return [passage.chunk.chunk_id for passage in found.retrieve(question, 8)]

    assert ids(Retriever(index, static, weights=Weights(1, 0))) == ids(
        Retriever(index, static, mode="dense")
    )
    assert ids(Retriever(index, static, weights=Weights(0, 1))) == ids(
        Retriever(index, static, mode="lexical")
    )


def test_an_index_without_search_by_words_is_searched_by_meaning(
    make_index: Make, static: Embedder
) -> None:
    documents = make_documents(3)
    plain = make_index(documents, BuildOptions())
    assert Retriever(plain, static).mode == "dense"
    with pytest.raises(InputError, match=r"has no search by words.*rag update"):
        Retriever(plain, static, mode="lexical")
    with pytest.raises(InputError, match="There is no search mode 'fuzzy'"):
        Retriever(plain, static, mode="fuzzy")  # type: ignore[arg-type]


def test_updates_replace_search_by_words_and_leave_who_reads_in_peace(
    make_index: Make, static: Embedder
) -> None:
    index = make_index(make_documents(3))
    before = Retriever(index, no_embedder, mode="lexical")
    more = [*make_documents(3), document("new", "A walnut under the bridge.")]
    update_index(index.path, more, static, splitter(static), options=WITH_WORDS)
    assert before.retrieve("the bridge", 1)[0].chunk.doc_id != "new"
    with pytest.raises(UnavailableError, match="up to date just after it was opened"):
        Retriever(index, no_embedder, mode="lexical")
    with open_index(index.path) as fresh:
        found = Retriever(fresh, no_embedder, mode="lexical").retrieve("walnut under", 1)
        assert found[0].chunk.doc_id == "new"


def test_damaged_search_by_words_leaves_search_by_meaning(
    make_index: Make, static: Embedder
) -> None:
    index = make_index(make_documents(3))
    folder = index.part(LEXICAL)
    assert folder is not None
    (folder / "rows.npy").unlink()
    assert Retriever(index, static, mode="dense").retrieve("the river", 1)
    with pytest.raises(InputError, match=r"Search by words in .* is damaged"):
        Retriever(index, static)


@pytest.mark.parametrize("mode", MODES)
def test_filters_hold_for_every_passage(index: Index, static: Embedder, mode: Mode) -> None:
    retriever = Retriever(index, static, mode=mode)
    question = "the violin and the ferry"
    everything = retriever.retrieve(question, len(index))
    for texts in (["kind=1"], ["kind>=1", "doc_id!=doc1"], ["title~number 1"]):
        filters = [parse_filter(text) for text in texts]
        found = retriever.retrieve(question, 6, filters)
        assert len(found) == 6
        fitting = [
            passage.chunk.chunk_id for passage in everything
            if all(one.accepts({"doc_id": passage.chunk.doc_id, "title": passage.chunk.title,
                                **passage.chunk.metadata}) for one in filters)
        ]  # fmt: skip
        if mode != "hybrid":  # there the best of the allowed ones set the scale
            assert [passage.chunk.chunk_id for passage in found] == fitting[:6]
        assert {passage.chunk.chunk_id for passage in found} <= set(fitting)
    assert retriever.retrieve(question, 6, [parse_filter("kind=9")]) == []
    with pytest.raises(InputError, match="Did you mean kind"):
        retriever.retrieve(question, 6, [parse_filter("kin=9")])


class ByLength:
    """A reranker that likes short texts."""

    name = "by length"

    def score(self, question: str, texts: Sequence[str]) -> Floats:
        """Return less the longer."""
        return np.array([-len(text) for text in texts], np.float32)


def test_a_reranker_orders_what_was_found(index: Index, static: Embedder) -> None:
    question = "the violin and the ferry"
    plain = Retriever(index, static).retrieve(question, 40)
    found = Retriever(index, static, reranker=ByLength()).retrieve(question, 5)
    lengths = sorted(len("\n".join((*p.chunk.headings, p.chunk.text))) for p in plain)
    assert [-passage.score for passage in found] == lengths[:5]
    assert [passage.rank for passage in found] == [1, 2, 3, 4, 5]
    by_id = {passage.chunk.chunk_id: passage for passage in plain}
    for passage in found:
        before = by_id[passage.chunk.chunk_id]
        assert replace(passage, score=before.score, rank=before.rank) == before


ODD = ["the", "\x00\x1b[2J", "\ud800", "?", "AND OR NOT (*)", "a" * 10**6, "word " * 200_000, "猫"]


@pytest.mark.parametrize("question", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("mode", MODES)
def test_no_question_is_too_odd(index: Index, static: Embedder, mode: Mode, question: str) -> None:
    found = Retriever(index, static, mode=mode).retrieve(question, 3)
    assert len(found) == 3 or mode == "lexical"
    assert all(np.isfinite(passage.score) for passage in found)


@given(st.text(min_size=1, max_size=50), st.integers(1, 500))
@settings(max_examples=30)
def test_never_more_than_asked_for_and_none_twice(
    index: Index, static: Embedder, question: str, k: int
) -> None:
    if question.strip():
        found = Retriever(index, static).retrieve(question, k)
        ids = [passage.chunk.chunk_id for passage in found]
        assert len(ids) == len(set(ids)) == min(k, len(index))


def test_empty_questions_and_no_passages_are_refused(index: Index, static: Embedder) -> None:
    retriever = Retriever(index, static)
    for question in ("", " \n\t", "\u3000"):
        with pytest.raises(InputError, match="The question is empty"):
            retriever.retrieve(question, 3)
    with pytest.raises(InputError, match="from 1 on"):
        retriever.retrieve("river", 0)


def test_search_by_words_loads_neither_embedder_nor_torch(index: Index) -> None:
    code = f"""
import sys
from pathlib import Path
from loragraft.rag.index.store import open_index
from loragraft.rag.search.lexical import LEXICAL
from loragraft.rag.search.retrieve import Retriever
with open_index(Path({str(index.path)!r})) as index:
    found = Retriever(index, lambda: 1 / 0, mode="lexical").retrieve("the violin", 3)
    assert len(found) == 3
heavy = {{"torch", "sentence_transformers", "transformers", "bm25s", "numba", "scipy"}}
print(sorted(heavy & set(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
