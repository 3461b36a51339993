"""Whole collections: what can be read is, and everything else is reported by name."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import InputError
from loragraft.rag.corpus import Limits, Unchanged, read_corpus
from loragraft.rag.corpus.worker import Worker
from loragraft.rag.records import Document, Skipped
from tests.support.pdf import build_pdf


def _read(
    sources: Sequence[Path], **limits: Any  # noqa: ANN401
) -> tuple[dict[str, Document], list[Skipped]]:  # fmt: skip
    found = list(read_corpus(sources, Limits(**limits)))
    documents = {item.doc_id: item for item in found if isinstance(item, Document)}
    return documents, [item for item in found if isinstance(item, Skipped)]


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """One document of each kind."""
    folder = tmp_path / "docs"
    (folder / "guide").mkdir(parents=True)
    (folder / "guide" / "install.md").write_text("# Install\n\nDo this.\n")
    (folder / "notes_on_lora.txt").write_bytes("Größe zählt.\nSehr.".encode("cp1252"))
    (folder / "page.html").write_text("<title>A page</title><p>Its text.")
    (folder / "paper.pdf").write_bytes(build_pdf([["Words on a page."]]))
    records = [
        {"doc_id": "r1", "text": "One."},
        {"doc_id": "r2", "text": "# T\n\nTwo.", "format": "markdown", "year": 2020},
    ]
    (folder / "records.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder


def test_every_kind_is_read(collection: Path) -> None:
    documents, skipped = _read([collection])
    assert skipped == []
    assert {doc_id: (d.title, d.text) for doc_id, d in documents.items()} == {
        "docs/guide/install.md": ("Install", "# Install\n\nDo this."),
        "docs/notes_on_lora.txt": ("notes on lora", "Größe zählt.\nSehr."),
        "docs/page.html": ("A page", "Its text."),
        "docs/paper.pdf": ("paper", "Words on a page."),
        "r1": ("r1", "One."),
        "r2": ("T", "# T\n\nTwo."),
    }
    assert documents["r2"].metadata == {"year": 2020, "source": "docs/records.jsonl"}
    assert documents["docs/notes_on_lora.txt"].metadata["encoding"] == "cp1252"
    assert len({document.sha256 for document in documents.values()}) == 6


def test_reading_twice_gives_the_same_in_the_same_order(collection: Path) -> None:
    assert list(read_corpus([collection])) == list(read_corpus([collection]))


def test_what_did_not_change_is_not_read_again(collection: Path) -> None:
    documents, _ = _read([collection])
    hashes = {doc_id: d.metadata.get("file_sha256") for doc_id, d in documents.items()}
    (collection / "page.html").write_text("<p>Another text.")
    found = list(read_corpus([collection], known=hashes.get))
    unchanged = {item.doc_id for item in found if isinstance(item, Unchanged)}
    assert unchanged == {
        "docs/guide/install.md",
        "docs/notes_on_lora.txt",
        "docs/paper.pdf",
    }
    assert {d.doc_id for d in found if isinstance(d, Document)} == {"docs/page.html", "r1", "r2"}


def test_bad_files_are_reported_by_name_and_the_rest_is_read(collection: Path) -> None:
    bad = {
        "empty.txt": b"",
        "blank.md": b" \n\n",
        "nothing.html": b"<script>x</script>",
        "picture.txt": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9,
        "random.md": os.urandom(5000),
        "broken.pdf": b"%PDF-1.4 nothing",
        "cut.txt": "Größe und Höhe. ".encode() * 9 + "ß".encode()[:1],
        "huge.txt": b"words " * 200_000,
        "broken.jsonl": b"{\n",
    }
    for name, data in bad.items():
        (collection / name).write_bytes(data)
    documents, skipped = _read([collection], file_bytes=1024 * 1024)
    assert len(documents) == 6
    named = {Path(item.source.split(",")[0]).name for item in skipped}
    assert named == set(bad)
    assert all(len(item.reason) > 8 for item in skipped)


def test_hostile_names_and_files_do_no_harm(
    collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(collection)  # the path of a socket must be short
    os.symlink(collection, collection / "guide" / "loop")
    os.symlink("nowhere", collection / "dangling.txt")
    os.symlink("/dev/zero", collection / "endless.txt")
    os.symlink(collection / "page.html", collection / "zz-same-page.html")
    os.mkfifo(collection / "pipe.txt")
    (collection / "two\nlines\x1b[31m.txt").write_text("Strange name.")
    (collection / os.fsdecode(b"bad-\xff-name.txt")).write_text("Stranger name.")
    (collection / ".hidden.txt").write_text("secret")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.txt")
        documents, skipped = _read([collection])
    names = {Path(item.source).name: item.reason for item in skipped}
    assert set(names) == {"dangling.txt", "endless.txt", "pipe.txt", "socket.txt"}
    assert "docs/two\\x0alines\\x1b[31m.txt" in documents
    assert "docs/bad-\\xff-name.txt" in documents
    assert len(documents) == 8
    for doc_id in documents:
        doc_id.encode("utf-8")
        assert doc_id.isprintable()


def test_one_id_belongs_to_one_document(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"doc_id": "x", "text": "one"}\n{"doc_id": "x", "text": "two"}\n')
    documents, skipped = _read([path])
    assert documents["x"].text == "one"
    assert "'x', which r.jsonl has already" in skipped[0].reason


def test_sources_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "docs").mkdir(parents=True)
        (tmp_path / name / "docs" / "x.txt").write_text(f"text of {name}")
    documents, skipped = _read([tmp_path / "a" / "docs", tmp_path / "b" / "docs"])
    assert set(documents) == {"a/docs/x.txt", "b/docs/x.txt"}
    assert skipped == []


def test_documents_of_other_kinds_are_pointed_out(collection: Path) -> None:
    (collection / "report.docx").write_bytes(b"PK")
    (collection / "photo.jpg").write_bytes(b"\xff\xd8")
    _, skipped = _read([collection])
    assert [item.reason for item in skipped] == [
        "has documents of kinds that are not read (1 .docx): convert them"
    ]
    _, skipped = _read([collection / "report.docx"])
    assert "none of the kinds" in skipped[0].reason


def test_a_source_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        list(read_corpus([tmp_path / "nothing"]))


def test_endless_metadata_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"doc_id": "x", "text": "t", "note": "n" * 100_000}))
    _, skipped = _read([path])
    assert "bytes of metadata" in skipped[0].reason


@pytest.mark.slow
def test_a_file_that_takes_for_ever_is_given_up(tmp_path: Path) -> None:
    slow = tmp_path / "a.html"
    slow.write_text("<div>" * 150_000 + "x")
    (tmp_path / "b.html").write_text("<p>Fine.")
    documents, skipped = _read([tmp_path], seconds=3)
    assert [Path(item.source).name for item in skipped] == ["a.html"]
    assert "more than 3 seconds" in skipped[0].reason
    assert [document.text for document in documents.values()] == ["Fine."]


def test_a_file_that_kills_its_reader_is_reported(tmp_path: Path) -> None:
    good = tmp_path / "b.html"
    good.write_text("<p>Fine.")
    with Worker(Limits()) as worker:
        assert worker.extract({"kind": "html", "path": str(good)}).text == "Fine."
        assert worker._process is not None
        worker._process.kill()
        worker._process.wait()
        assert worker.extract({"kind": "html", "path": str(good)}).text == "Fine."
