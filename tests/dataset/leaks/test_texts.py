"""What is tested inside corpora and training texts, and the evidence that answers rest on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loragraft.dataset.leaks import hay
from loragraft.dataset.leaks.find import find_leaks
from loragraft.dataset.leaks.report import (
    CORPUS,
    EVIDENCE_CORPUS,
    EVIDENCE_SHARED,
    EVIDENCE_TEXT,
    TRAINING_TEXT,
)
from loragraft.errors import InputError
from tests.dataset.leaks.records import TEST, VAL, planted, qa, write_rows, write_splits

PAPER = (
    "The wasps were kept in glass boxes at the station of Orsk. Twelve queens were fed with honey "
    "and watched every day. A queen of the amber wasp lived for 31 months, longer than any that "
    "was seen in the field. Males died in autumn, and workers before the first snow fell."
)
ANSWER_AT = PAPER.index("A queen"), PAPER.index(" Males")
SPAN = "wasps#{}-{}".format(*ANSWER_AT)


def corpus(folder: Path, *more: str) -> Path:
    rows = [{"doc_id": "wasps", "title": "On wasps", "text": PAPER}]
    rows += [{"doc_id": f"more{n}", "title": "", "text": text} for n, text in enumerate(more)]
    return write_rows(folder / "papers.jsonl", rows)


def with_evidence(folder: Path, *evidence: str) -> dict[str, Path]:
    row = qa("x9", "For how many months did the wasp in the glass box live?", "31 months")
    return write_splits(folder, planted(test={**row, "evidence": list(evidence)}))


def test_a_test_question_in_the_corpus(tmp_path: Path) -> None:
    text = f"Frequent questions.\n\n1. {TEST[1]['question'].upper()}\n\nNobody knows."
    splits = write_splits(tmp_path, planted())
    report = find_leaks(splits, corpus=[corpus(tmp_path, text)])
    assert [(leak.kind, leak.first.id, leak.second.id) for leak in report.leaks] == [
        (CORPUS, "x2", "more0")
    ]
    assert not report.clean
    assert report.leaks[0].second.where == "corpus"
    assert "WHICH RESIN SEALS" in report.leaks[0].second.text
    assert find_leaks(splits, corpus=[corpus(tmp_path)]).clean


def test_a_corpus_as_a_folder_of_text_is_read_whole(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    long = "The ship sailed on, and the crew sang of resin and hulls. " * 6000
    (folder / "log.txt").write_text(f"{long}{VAL[0]['question']} {long}", encoding="utf-8")
    report = find_leaks(write_splits(tmp_path, planted()), corpus=[folder])
    assert [(leak.kind, leak.first.id, leak.second.id) for leak in report.leaks] == [
        (CORPUS, "v1", "corpus/log.txt")
    ]
    assert "Which gas leaves" in report.leaks[0].second.text


def test_what_cannot_be_read_of_a_corpus_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "good.txt").write_text("Ships.", encoding="utf-8")
    (folder / "empty.txt").write_bytes(b"")
    report = find_leaks(write_splits(tmp_path, planted()), corpus=[folder])
    assert any("empty.txt" in text and "empty" in text for text in report.unchecked)


def test_a_corpus_without_documents_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "papers.jsonl"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="no document"):
        find_leaks(write_splits(tmp_path, planted()), corpus=[empty])


def test_evidence_that_a_retrieval_corpus_holds_is_no_finding(tmp_path: Path) -> None:
    report = find_leaks(with_evidence(tmp_path, SPAN), corpus=[corpus(tmp_path)])
    assert report.clean
    assert report.evidence == {"passages": 1, "in_corpus": 1}


@pytest.mark.parametrize(
    ("passage", "why"),
    [("bees#0-10", "no document of the corpus has the id 'bees'"),
     ("wasps#10-99999", "the passage ends at character 99,999, the document at")],
)  # fmt: skip
def test_evidence_that_a_retrieval_corpus_lacks(tmp_path: Path, passage: str, why: str) -> None:
    report = find_leaks(with_evidence(tmp_path, SPAN, passage), corpus=[corpus(tmp_path)])
    assert [(leak.kind, leak.severity) for leak in report.leaks] == [(EVIDENCE_CORPUS, "gap")]
    assert why in report.leaks[0].why
    assert not report.clean
    assert report.evidence == {"passages": 2, "in_corpus": 1}


def test_evidence_in_a_corpus_that_is_trained_on(tmp_path: Path) -> None:
    report = find_leaks(
        with_evidence(tmp_path, SPAN, "bees"), corpus=[corpus(tmp_path)], corpus_use="training"
    )
    assert [(leak.kind, leak.severity, leak.second.id) for leak in report.leaks] == [
        (EVIDENCE_CORPUS, "leak", "wasps")
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("all.txt", f"Of all things.\n{{}}\nAnd {TEST[0]['question']}\n"),
        ("rows.jsonl", json.dumps({"messages": [{"role": "user", "content": f"{{}} and "
         f"{TEST[0]['question']}"}]}) + "\n"),
        ("notes.md", f"# Notes\n\n{TEST[0]['question']}\n"),
    ],
)  # fmt: skip
def test_a_test_question_in_a_training_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text.replace("{}", "Ships. " * 50), encoding="utf-8")
    report = find_leaks(write_splits(tmp_path, planted()), training_text=[path])
    assert [(leak.kind, leak.first.id, leak.second.where) for leak in report.leaks] == [
        (TRAINING_TEXT, "x1", name)
    ]


def test_a_question_across_two_blocks_of_a_long_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hay, "_READ", 64)
    monkeypatch.setattr(hay, "WINDOW", 512)
    monkeypatch.setattr(hay, "OVERLAP", 256)
    path = tmp_path / "long.txt"
    splits = write_splits(tmp_path, planted())
    for before in range(0, 600, 37):
        path.write_text(
            f"{'a b ' * (before // 4)}{TEST[3]['question']} {'c d ' * 300}", encoding="utf-8"
        )
        report = find_leaks(splits, training_text=[path])
        assert [leak.first.id for leak in report.leaks] == ["x4"], before


def test_the_passage_of_a_test_record_in_a_training_file(tmp_path: Path) -> None:
    path = tmp_path / "all.txt"
    path.write_text(PAPER.replace("longer", "much longer"), encoding="utf-8")
    splits = with_evidence(tmp_path, SPAN)
    report = find_leaks(splits, corpus=[corpus(tmp_path)], training_text=[path])
    assert [(leak.kind, leak.first.id) for leak in report.leaks] == [(EVIDENCE_TEXT, "x9")]
    without = find_leaks(splits, training_text=[path])
    assert without.clean
    assert any("its texts are in the corpus" in text for text in without.unchecked)


def test_other_sentences_of_the_same_paper_are_no_leak(tmp_path: Path) -> None:
    path = tmp_path / "all.txt"
    path.write_text(PAPER[: ANSWER_AT[0]] + PAPER[ANSWER_AT[1] :], encoding="utf-8")
    report = find_leaks(
        with_evidence(tmp_path, SPAN), corpus=[corpus(tmp_path)], training_text=[path]
    )
    assert report.clean


@pytest.mark.parametrize(
    ("train", "test", "why", "score"),
    [("wasps#0-40", "wasps#0-40", "the same passage", 1.0),
     ("wasps#0-40", "wasps#20-60", "passages that overlap", 0.5),
     ("wasps", "wasps", "the same passage", 1.0),
     ("wasps", "wasps#20-60", "passages that overlap", 0.99),
     ("wasps#0-40", "wasps#40-60", None, None),
     ("wasps#0-40", "bees#0-40", None, None)],
)  # fmt: skip
def test_evidence_of_two_splits_is_a_note(
    tmp_path: Path, train: str, test: str, why: str | None, score: float | None
) -> None:
    splits = {
        "train": [qa("a", "What fed the wasps of Orsk station?", "honey", evidence=[train])],
        "test": [qa("b", "When did the workers die that year?", "in autumn", evidence=[test])],
    }
    report = find_leaks(write_splits(tmp_path, splits))
    assert report.clean
    assert [(leak.kind, leak.severity, leak.score) for leak in report.leaks] == (
        [(EVIDENCE_SHARED, "note", score)] if why else []
    )
    assert not why or why in report.leaks[0].why


def test_a_corpus_is_for_something_that_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="retrieval or training"):
        find_leaks(write_splits(tmp_path, planted()), corpus_use="fun")  # type: ignore[arg-type]


def test_a_training_file_that_is_not_there(tmp_path: Path) -> None:
    splits = write_splits(tmp_path, planted())
    for name in ("gone.txt", "gone.jsonl", "gone.md"):
        with pytest.raises(InputError, match="gone"):
            find_leaks(splits, training_text=[tmp_path / name])
