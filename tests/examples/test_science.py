"""The example collection is what its seed gives, and holds what its README says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from loragraft.artifact.jsonl import read_jsonl
from loragraft.dataset.leaks.find import find_leaks
from loragraft.dataset.records import Qa, parse_evidence, read_records
from loragraft.dataset.split.assign import GroupBy
from loragraft.dataset.split.load import load_split
from loragraft.dataset.split.manifest import same_split
from loragraft.dataset.split.write import plan_split, write_split
from loragraft.rag.corpus.read import read_corpus
from loragraft.rag.records import Document
from scripts.science.fields import read_fields

ROOT = Path(__file__).resolve().parents[2]
SCIENCE = ROOT / "examples" / "science"
TASKS, PAPERS, SPLITS = SCIENCE / "tasks.jsonl", SCIENCE / "papers.jsonl", SCIENCE / "splits"
SEED = 20251101


def tasks() -> list[Qa]:
    found = [record for record in read_records(TASKS) if isinstance(record, Qa)]
    assert len(found) == 600
    return found


def papers() -> dict[str, Document]:
    found = [document for document in read_corpus([PAPERS]) if isinstance(document, Document)]
    assert len(found) == 60
    return {document.doc_id: document for document in found}


def evidence_of(task: Qa, documents: dict[str, Document]) -> str:
    (evidence,) = map(parse_evidence, task.evidence)
    assert evidence.doc_id == task.paper_id
    return documents[evidence.doc_id].text[evidence.start : evidence.stop]


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_the_seed_gives_the_same_bytes(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONUTF8": "0", "LC_ALL": "C"}
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generate_science.py"), "--check"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_there_are_five_types_on_sixty_papers() -> None:
    found = tasks()
    assert Counter(task.task_type for task in found) == {
        "numeric": 180, "entity": 120, "yes_no": 120, "comparison": 120, "method": 60,
    }  # fmt: skip
    assert set(Counter(task.paper_id for task in found).values()) == {10}
    assert {task.paper_id for task in found} == set(papers())


def test_papers_read_as_they_are_written() -> None:
    written = [line.values for line in read_jsonl(PAPERS)]
    documents = papers()
    for values in written:
        document = documents[values["doc_id"]]
        assert document.text == values["text"]  # so spans count the same characters everywhere
        assert document.title == values["title"]
        assert 300 <= len(document.text.split()) <= 900
        headings = re.findall(r"(?m)^(\w+)$", document.text)
        assert headings == ["Abstract", "Introduction", "Methods", "Results", "Discussion"]


def test_evidence_is_one_sentence_that_holds_the_answer() -> None:
    documents = papers()
    seen: Counter[tuple[str, ...]] = Counter()
    for task in tasks():
        sentence = evidence_of(task, documents)
        seen[tuple(task.evidence)] += 1
        assert sentence[0].isupper(), task.id
        assert sentence.endswith("."), task.id
        assert not re.search(r"[.?!] [A-Z]", sentence), task.id
        if task.task_type != "yes_no":
            assert task.answers[0].casefold() in sentence.casefold(), task.id
    assert set(seen.values()) == {1}  # no fact is asked twice


def test_an_answer_stands_once_in_its_paper() -> None:
    """What a number or a name answers is said in the evidence and nowhere else in the paper."""
    documents = papers()
    for task in tasks():
        if task.task_type in ("numeric", "entity"):
            text = documents[str(task.paper_id)].text.casefold()
            assert text.count(task.answers[0].casefold()) == 1, (task.id, task.answers[0])


def test_comparisons_are_true() -> None:
    """The right answer has the largest or the smallest number of its sentence, as is asked."""
    facts = [fact for field in read_fields() for fact in field.facts() if fact.kind == "comparison"]
    documents, directions = papers(), Counter[bool]()
    for task in tasks():
        if task.task_type != "comparison":
            continue
        sentence = evidence_of(task, documents)
        fact, largest = next(
            (fact, asks is fact.asks)
            for fact in facts
            for asks in (fact.asks, fact.least)
            if any(asked_by(ask, task.question) for ask in asks)
            if any(all(thing[0] in sentence for thing in option) for option in fact.options)
        )
        names = next(o for o in fact.options if all(thing[0] in sentence for thing in o))
        told = sorted((thing[0] for thing in names), key=sentence.index)
        numbers = [float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*(?:\.\d+)?", sentence)]
        assert len(numbers) == len(told), sentence
        extreme = max(numbers) if largest else min(numbers)
        assert task.answers[0] == told[numbers.index(extreme)], sentence
        first, second = sorted(numbers, reverse=largest)[:2]
        assert abs(first - second) >= 0.03 * max(first, second), sentence  # clear, no rounding
        directions[largest] += 1
    assert directions == {True: 60, False: 60}


def asked_by(ask: str, question: str) -> bool:
    pattern = re.sub(r"<\w+>", "(.+)", re.sub(r"[?.()]", r"\\\g<0>", ask)).replace("a/an", "an?")
    return re.fullmatch(pattern, question, re.IGNORECASE) is not None


def test_guessing_does_not_pay() -> None:
    found = tasks()
    assert Counter(t.answers[0] for t in found if t.task_type == "yes_no") == {"yes": 60, "no": 60}
    places: Counter[bool] = Counter()
    for task in found:
        if task.task_type == "comparison" and (pair := re.search(r"(.*)\bor\b(.*)", task.question)):
            name = re.escape(task.answers[-1])
            before, after = (bool(re.search(rf"\b{name}\b", part)) for part in pair.groups())
            if before != after:
                places[before] += 1
    assert sum(places.values()) >= 60
    assert abs(places[True] - places[False]) <= 4


def test_no_question_tells_the_answer_of_another() -> None:
    found = tasks()
    questions = {task.id: f" {words(task.question)} " for task in found}
    for task in found:
        if task.task_type == "yes_no":
            continue
        for answer in task.answers:
            telling = {other for other, text in questions.items() if f" {words(answer)} " in text}
            assert telling <= ({task.id} if task.task_type == "comparison" else set()), answer


def words(text: str) -> str:
    return " ".join(re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+", text.casefold()))


def test_curating_the_drafts_gives_the_records(tmp_path: Path) -> None:
    from loragraft.dataset.curate.run import curate

    clean = tmp_path / "clean.jsonl"
    curate(ROOT / "configs" / "curation" / "qa.yaml", SCIENCE / "drafts.jsonl", clean)
    assert clean.read_bytes() == TASKS.read_bytes()


@pytest.mark.parametrize(("tag", "group_by"), [("science", None), ("science_by_paper", "paper_id")])
def test_the_committed_split_is_what_its_seed_gives(
    tag: str, group_by: GroupBy | None, tmp_path: Path
) -> None:
    written = write_split(plan_split(TASKS, seed=SEED, group_by=group_by), tmp_path, tag)
    committed = load_split(SPLITS, tag)  # checks every hash
    assert same_split(written.manifest, committed.manifest)
    for name, path in committed.files.items():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), name
    counts = {name: len(list(committed.records(name))) for name in committed.files}
    if group_by is None:
        assert counts == {"train": 420, "val": 90, "test": 90}
    seen = set(committed.seen_in_training().values())
    assert seen == {group_by is None}


@pytest.mark.parametrize("tag", ["science", "science_by_paper"])
def test_the_committed_splits_have_no_leaks(tag: str) -> None:
    report = find_leaks(load_split(SPLITS, tag).files, corpus=[PAPERS])
    assert report.clean, report.verdict
    assert not report.counts


@pytest.mark.slow
def test_no_question_paraphrases_one_of_another_split(minilm_folder: Path) -> None:
    from loragraft.embedding.opening import open_embedder
    from loragraft.embedding.spec import EmbedderSpec

    embedder = open_embedder(EmbedderSpec(name=str(minilm_folder)))
    report = find_leaks(load_split(SPLITS, "science").files, embedder=embedder, near=0.9)
    assert report.clean, report.verdict
    assert not report.counts
    embedder.close()


def test_nothing_is_left_of_the_templates() -> None:
    for path in (TASKS, PAPERS, SCIENCE / "drafts.jsonl"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"[<>]|a/an|\\u00", text), path.name
        for line in text.splitlines():
            assert json.dumps(json.loads(line), ensure_ascii=False) == line
