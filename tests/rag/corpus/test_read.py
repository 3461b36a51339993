"""Whole collections: what can be read is, and everything else is reported by name."""

from __future__ import annotations

import errno
import json
import os
import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loragraft.errors import InputError
from loragraft.rag.corpus import Limits, Unchanged, read_corpus
from loragraft.rag.corpus.child import extract
from loragraft.rag.corpus.limits import MIB
from loragraft.rag.corpus.worker import Worker
from loragraft.rag.records import Document, Skipped
from tests.support.pdf import build_pdf, encrypt


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


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.write(b"The first words of a dump.\n")
        file.truncate(size)


_BAD = {
    "empty.txt": (b"", "is empty"),
    "empty.pdf": (b"", "is empty"),
    "empty.jsonl": (b"", "is empty"),
    "blank.md": (b" \n\n", "is empty"),
    "nothing.html": (b"<script>x</script>", "holds no text"),
    "picture.txt": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "is a picture under"),
    "program.md": (b"\x7fELF\x02\x01\x01" + bytes(99), "is a program under"),
    "paper.txt": (build_pdf([["Words."]]), "is a PDF under a text's name: name it *.pdf"),
    "random.html": (random.Random(5).randbytes(5000), "is binary data under"),
    "broken.pdf": (b"%PDF-1.4 nothing", "is no PDF that can be read"),
    "page-as.pdf": (b"<p>A page.</p>", "is no PDF that can be read"),
    "cut.txt": ("Größe und Höhe. ".encode() * 9 + b"\xc3", "is UTF-8 with damage: byte 171"),
    "wide.txt": ("Größe".encode("utf-16") + b"\x00", "claims to be UTF-16"),
    "broken.jsonl": (b"{\n", "is no JSON"),
}
_HUGE = {"huge.txt": 64, "huge.html": 64, "huge.md": 64, "huge.pdf": 256}


def test_bad_files_are_reported_by_name_and_the_rest_is_read(collection: Path) -> None:
    for name, (data, _) in _BAD.items():
        (collection / name).write_bytes(data)
    for name, most in _HUGE.items():
        _sparse(collection / name, most * MIB + 1)
    (collection / "secret.pdf").write_bytes(build_pdf([["Secret words."]]))
    encrypt(collection / "secret.pdf", "password")
    documents, skipped = _read([collection])
    assert len(documents) == 6
    reasons = {Path(item.source.split(",")[0]).name: item.reason for item in skipped}
    assert len(skipped) == len(reasons)
    expected = {name: reason for name, (_, reason) in _BAD.items()}
    expected |= {name: f"is larger than {most} MiB" for name, most in _HUGE.items()}
    expected["secret.pdf"] = "is encrypted with a password"
    assert reasons.keys() == expected.keys()
    assert {n: r for n, r in reasons.items() if not r.startswith(expected[n])} == {}


def test_a_file_that_cannot_be_opened_is_reported(
    collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refused(path: Any, *others: Any, **more: Any) -> int:  # noqa: ANN401
        if str(path).endswith("page.html"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *others, **more)

    monkeypatch.setattr(os, "open", refused)
    documents, [skipped] = _read([collection])
    assert skipped == Skipped(str(collection / "page.html"), "cannot be read: Permission denied")
    assert len(documents) == 5


def test_pages_that_sphinx_makes_twice_are_read_once(tmp_path: Path) -> None:
    for name in ("index.html", "genindex.html", "genindex-A.html", "search.html",
                 "_static/note.txt", "_sources/index.rst.txt"):  # fmt: skip
        path = tmp_path / "html" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<p>Some words.")
    everything, _ = _read([tmp_path / "html"])
    assert len(everything) == 6
    (tmp_path / "html" / "objects.inv").write_bytes(b"# Sphinx inventory version 2\n")
    documents, skipped = _read([tmp_path / "html"])
    assert list(documents) == ["html/index.html"]
    assert skipped == []


def test_texts_beyond_the_limits_are_reported(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a\n" * 300 + "b")
    (tmp_path / "long.md").write_text("word " * 250)
    documents, skipped = _read([tmp_path], lines=200, text_characters=1000)
    assert documents == {}
    assert [item.reason.split(";")[0] for item in skipped] == [
        "holds 300 lines of text",
        "holds 1,249 characters of text",
    ]


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
    assert skipped == [
        Skipped(f"{path}, line 2", f"has the id 'x', as {path}, line 1 has: give it another")
    ]


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


def test_metadata_of_an_author_break_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    record = {"doc_id": "x", "text": "t", "page_starts": 7, "source": ["a"], "file_sha256": {}}
    path.write_text(json.dumps(record))
    (tmp_path / "n.md").write_text("---\npage_starts: many\nsource: 1\n---\nText.")
    documents, skipped = _read([tmp_path])
    assert skipped == []
    assert documents["x"].metadata["page_starts"] == 7
    assert {Path(str(d.metadata["source"])).name for d in documents.values()} == {
        "r.jsonl",
        "n.md",
    }


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


def test_a_file_that_grows_while_it_is_read_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("word " * 100)
    limits = Limits(file_bytes=300)  # it was within the limit when it was hashed
    with pytest.raises(InputError, match="grows while it is read"):
        extract({"kind": "text", "path": str(path)}, limits)
