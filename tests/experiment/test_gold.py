"""Gold evidence put together from an index's chunks."""

from __future__ import annotations

from loragraft.dataset.records import Qa, Reply
from loragraft.experiment.gold import gold_texts
from loragraft.rag.records import Chunk

TEXT = "Abc def. Ghi jkl.\n\nMno pqr stu."
SPANS = [(0, 8), (5, 17), (19, 31)]


def chunks(doc_id: str) -> list[Chunk]:
    if doc_id != "doc":
        return []
    return [
        Chunk(f"doc:{a}-{b}", "doc", "Title", (), a, b, TEXT[a:b], 5, "") for a, b in SPANS
    ]  # fmt: skip


def qa(*evidence: str) -> Qa:
    return Qa("q", "fact", "What?", ("x",), evidence)


def test_a_span_is_cut_out_of_overlapping_chunks() -> None:
    assert gold_texts(qa("doc#4-17"), chunks) == ["def. Ghi jkl."]
    assert gold_texts(qa("doc#9-25"), chunks) == ["Ghi jkl.\n\nMno pq"]


def test_a_document_stands_whole_and_each_text_once() -> None:
    assert gold_texts(qa("doc", "doc", "doc#0-31"), chunks) == ["Abc def. Ghi jkl.\n\nMno pqr stu."]


def test_what_the_index_does_not_hold_is_left_out() -> None:
    assert gold_texts(qa("other", "doc#900-950", "doc#17-19", "doc#0-3"), chunks) == ["Abc"]


def test_only_questions_have_evidence() -> None:
    assert gold_texts(Reply("r", "reply", "hi", "hello"), chunks) == []
