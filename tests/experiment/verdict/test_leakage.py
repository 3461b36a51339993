"""Test questions that were seen in training, or stand in the index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.jsonl import write_jsonl
from loragraft.dataset.split.write import plan_split, write_split
from loragraft.embedding.static import StaticEmbedder
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.verdict import leakage
from loragraft.experiment.verdict.leakage import CACHE_NAME, check_leaks, indexed_documents
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions
from loragraft.rag.records import Document
from tests.support.series import loaded, write_config
from tests.support.small_index import WORDS, make_documents, splitter
from tests.support.small_search import document


def asked(number: int) -> str:
    """Return a question like no other."""
    first, second, third = WORDS[number], WORDS[(7 * number + 3) % 26], WORDS[(5 * number + 1) % 26]
    return (
        f"Which {first} did the keeper of {second} bring over the {third} in year {1700 + number}?"
    )


def split(folder: Path, **copies: str) -> None:
    """Write a split of twenty-four questions; a copy stands in another part, too."""
    rows = [
        {"kind": "qa", "id": f"q{n:02d}", "task_type": "text", "question": asked(n),
         "answers": [WORDS[n] * 2]}
        for n in range(24)
    ]  # fmt: skip
    source = folder / "records.jsonl"
    write_jsonl(source, rows)
    write_split(plan_split(source, seed=3), folder, "houses")
    manifest = folder / "houses_manifest.json"
    values = json.loads(manifest.read_text())
    for number, (part, text) in enumerate(copies.items()):
        file = folder / f"houses_{part}.jsonl"
        row = {**rows[0], "id": f"copy{number}", "question": text, "answers": ["unheard"]}
        file.write_bytes(file.read_bytes() + (json.dumps(row) + "\n").encode())
        told = values["files"][part]
        told["sha256"] = leakage_hash(file)
        told["records"] += 1
    manifest.write_text(json.dumps(values))


def leakage_hash(path: Path) -> str:
    """Return a file's hash."""
    from loragraft.artifact.hashing import sha256_file

    return sha256_file(path)


def of_the_test(folder: Path) -> str:
    """Return a question of the test part."""
    line = (folder / "houses_test.jsonl").read_text().splitlines()[0]
    return str(json.loads(line)["question"])


def series(folder: Path, **changes: Any) -> SeriesConfig:  # noqa: ANN401
    """Return a series over the split."""
    engine = {"kind": "openai", "url": "http://127.0.0.1:9/v1", "key": None, "model": "m"}
    values = {"series": "houses", "baseline": "a", "outputs": "outputs",
              "data": {"tag": "houses", "splits": "."},
              "experiments": {name: {"engine": engine} for name in "ab"}, **changes}  # fmt: skip
    (folder / "outputs" / "houses").mkdir(parents=True, exist_ok=True)
    return loaded(write_config(folder, values))


def with_index(folder: Path, embedder: StaticEmbedder, documents: list[Document]) -> SeriesConfig:
    """Return a series that searches these documents."""
    build_index(folder / "index", documents, embedder, splitter(embedder), replace=True,
                options=BuildOptions())  # fmt: skip
    config = series(folder)
    experiments = {n: one.model_copy(update={"retrieval": True})
                   for n, one in config.experiments.items()}  # fmt: skip
    from loragraft.experiment.config import RetrievalConfig

    return config.model_copy(
        update={"experiments": experiments, "retrieval": RetrievalConfig(index=folder / "index")}
    )


def test_a_clean_split_is_clean(tmp_path: Path) -> None:
    split(tmp_path)
    found = check_leaks(series(tmp_path))
    assert (found.check.met, found.check.next) == ("yes", "")
    assert found.report is not None
    assert found.report["clean"] is True


@pytest.mark.parametrize("change", [str, str.upper, lambda text: f"{text} Say."])
def test_a_test_question_in_training_is_found(tmp_path: Path, change: Any) -> None:  # noqa: ANN401
    split(tmp_path)
    split(tmp_path, train=change(of_the_test(tmp_path)))
    found = check_leaks(series(tmp_path))
    assert found.check.met == "no"
    assert found.check.next
    assert "keeper" not in json.dumps(found.report)


def test_what_leaks_between_other_parts_touches_no_verdict(tmp_path: Path) -> None:
    split(tmp_path)
    seen = json.loads((tmp_path / "houses_val.jsonl").read_text().splitlines()[0])["question"]
    split(tmp_path, train=seen)
    assert check_leaks(series(tmp_path)).check.met == "yes"
    assert check_leaks(series(tmp_path, data={"tag": "houses", "splits": ".", "part": "val"}))\
        .check.met == "no"  # fmt: skip


def test_a_test_question_in_the_index_is_found(tmp_path: Path, static: StaticEmbedder) -> None:
    split(tmp_path)
    clean = with_index(tmp_path, static, make_documents(3))
    assert check_leaks(clean).check.met == "yes"
    sheet = document("sheet", f"Questions of the exam. {of_the_test(tmp_path)} Answer in a word.")
    leaky = with_index(tmp_path, static, [*make_documents(3), sheet])
    found = check_leaks(leaky)  # the index is another one: what was kept is not taken
    assert found.check.met == "no"
    assert "test-question-in-corpus" in found.check.measured


def test_documents_come_back_from_their_chunks(tmp_path: Path, static: StaticEmbedder) -> None:
    split(tmp_path)
    documents = make_documents(12)
    with_index(tmp_path, static, documents)
    found = {row["doc_id"]: row["text"] for row in indexed_documents(tmp_path / "index")}
    assert found.keys() == {one.doc_id for one in documents}
    for one in documents:
        assert found[one.doc_id].split() == one.text.split()
        assert one.text.startswith(found[one.doc_id][:40])


def test_what_was_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split(tmp_path)
    config = series(tmp_path)
    first = check_leaks(config)
    cache = tmp_path / "outputs" / "houses" / CACHE_NAME
    with monkeypatch.context() as patch:
        patch.setattr(leakage, "_search", lambda *_: pytest.fail("looked again"))
        assert check_leaks(config) == first
    for broken in (b"", b"[]", b"\xff", b'{"key": 3}', cache.read_bytes().replace(b"counts", b"c")):
        cache.write_bytes(broken)
        assert check_leaks(config) == first


@pytest.mark.parametrize(
    ("data", "met", "said"),
    [
        ({"files": ["records.jsonl"]}, "open", "plain files"),
        ({"tag": "houses", "splits": ".", "part": "train"}, "no", "trained on"),
        ({"tag": "gone", "splits": "."}, "open", "does not exist"),
    ],
)
def test_where_nobody_can_look_it_is_said(
    tmp_path: Path, data: dict[str, Any], met: str, said: str
) -> None:
    split(tmp_path)
    found = check_leaks(series(tmp_path, data=data))
    assert (found.check.met, found.report) == (met, None)
    assert said in found.check.measured
    assert found.check.next


def test_a_split_without_its_training_file_is_open(tmp_path: Path) -> None:
    split(tmp_path)
    (tmp_path / "houses_train.jsonl").unlink()
    found = check_leaks(series(tmp_path)).check
    assert (found.met, found.needed) == ("open", True)


def test_questions_of_plain_files_have_nothing_to_be_looked_for_in(tmp_path: Path) -> None:
    split(tmp_path)
    found = check_leaks(series(tmp_path, data={"files": ["records.jsonl"]})).check
    assert (found.met, found.needed) == ("open", False)
