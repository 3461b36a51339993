"""Whole documents in a prompt, and as much around the evidence as there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from loragraft.dataset.records import Qa
from loragraft.experiment.arms.protocol import Question
from loragraft.experiment.arms.qa import QaArm
from loragraft.experiment.arms.retrieval import Retrieval
from loragraft.experiment.arms.stuffing import stuffed
from loragraft.experiment.config import RetrievalConfig, SamplingConfig
from loragraft.experiment.records import PassageShown
from loragraft.rag.records import Chunk, Passage
from tests.support.answering import ScriptedBatch, ask
from tests.support.small_index import make_document

SAMPLING = SamplingConfig(max_tokens=16)


SHOWN = PassageShown("P1", "c", "book", "Book", 0, 1, "x", 1.0, 1)


def record(*evidence: str) -> Qa:
    """Return a question."""
    return Qa("q", "entity", "what meets the stone?", ("copper",), evidence)


@pytest.fixture
def arm(retrieval: RetrievalConfig) -> QaArm:
    """Give whole documents."""
    return QaArm("cloud", SAMPLING, retrieval=Retrieval(retrieval), stuff=True)


def test_whole_documents_stand_in_the_prompt(arm: QaArm) -> None:
    (sample,) = ask(arm, [record("doc3#0-20", "doc5", "doc3#40-60")], ScriptedBatch("Copper [P1]."))
    assert sample.status == "ok"
    assert sample.extra == {"documents_cut": False}
    assert [one.doc_id for one in sample.retrieved] == ["doc3", "doc5"]
    for name, number in (("doc3", 3), ("doc5", 5)):
        text = make_document(number).text
        (shown,) = [one for one in sample.shown if one.doc_id == name]
        assert (shown.start, shown.stop, shown.text) == (0, len(text), text)
    assert [one["known"] for one in sample.citations] == [True]


def test_what_has_no_room_is_cut_around_the_evidence(arm: QaArm) -> None:
    text = make_document(3).text
    whole = arm.prepare(record("doc3"), ScriptedBatch()).tokens
    at = len(text) // 2
    tight = ScriptedBatch(".", context=whole - 20 + 16)
    (sample,) = ask(arm, [record(f"doc3#{at}-{at + 10}")], tight)
    assert sample.extra == {"documents_cut": True}
    (shown,) = sample.shown
    assert shown.start <= at
    assert at + 10 <= shown.stop
    assert shown.text == text[shown.start : shown.stop]
    assert len(shown.text) < len(text)
    roomier = ScriptedBatch(".", context=whole - 10 + 16)
    (more,) = ask(arm, [record(f"doc3#{at}-{at + 10}")], roomier)
    assert len(more.shown[0].text) >= len(shown.text)


def test_a_question_without_evidence_or_document_says_so(arm: QaArm) -> None:
    samples = ask(arm, [record()], ScriptedBatch())
    assert [(one.status, "names no evidence" in one.error) for one in samples] == [
        ("unscorable", True)
    ]
    (lost,) = ask(arm, [record("nowhere#0-5")], ScriptedBatch())
    assert lost.status == "error"
    assert "has no document 'nowhere'" in lost.error


def test_no_room_for_the_smallest_piece_is_the_questions_fault(arm: QaArm) -> None:
    (sample,) = ask(arm, [record("doc3")], ScriptedBatch(context=120))
    assert sample.status == "error"
    assert "has room" in sample.error


def test_of_a_book_only_what_may_have_room_is_tried() -> None:
    pages = [
        Chunk(f"book:{n}", "book", "Book", (), n * 10, n * 10 + 9, "word " * 9, 100, "")
        for n in range(9_000)
    ]
    tried: list[int] = []

    class Library:
        def document(self, doc_id: str) -> list[Chunk]:
            del doc_id
            return pages

    def ask_about(passages: Sequence[Passage]) -> Question:
        tried.append(passages[0].chunk.tokens)
        fits = passages[0].chunk.tokens <= 700
        return Question(record("book"), fault="" if fits else "No room.", shown=(SHOWN,))

    found = stuffed(record("book#44000-44005"), Library(), ask_about, 1000)  # type: ignore[arg-type]
    assert found.fault == ""
    assert found.extra == {"documents_cut": True}
    assert max(tried) <= 2100
    (kept,) = found.retrieved
    assert (kept.stop - kept.start + 1) // 10 == 7
    assert kept.start <= 44000 < kept.stop


def test_stuffing_is_part_of_the_identity(retrieval: RetrievalConfig, arm: QaArm) -> None:
    found = QaArm("rag", SAMPLING, retrieval=Retrieval(retrieval))
    assert arm.identity() != found.identity()
    assert isinstance(retrieval.index, Path)
