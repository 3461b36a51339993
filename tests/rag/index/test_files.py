"""An index of real files: what did not change is not even read again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.embedding.protocol import Embedder
from loragraft.rag.corpus import Unchanged, read_corpus
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions, BuildReport, Known, Source
from loragraft.rag.index.store import open_index
from loragraft.rag.index.update import update_index
from tests.support.small_index import make_document, splitter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Text files, a Markdown file, records, and a file that is no text."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(make_document(number).text)
    (folder / "guide.md").write_text(f"# Guide\n\n{make_document(90).text}\n")
    records = [{"doc_id": f"r{n}", "text": make_document(50 + n).text} for n in range(3)]
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (folder / "broken.pdf").write_bytes(b"no PDF at all")
    return folder


class Collection:
    """Reads a folder for an index, and remembers what was left out."""

    def __init__(self, folder: Path, index: Path, embedder: Embedder) -> None:
        """Name the folder, the index and who embeds."""
        self.folder, self.index, self.embedder = folder, index, embedder
        self.left: list[str] = []

    def build(self) -> BuildReport:
        """Build the index."""
        split = splitter(self.embedder)
        return build_index(self.index, read_corpus([self.folder]), self.embedder, split)

    def update(self, budget: int = 32, **options: object) -> BuildReport:
        """Update the index."""
        self.left = []
        split = splitter(self.embedder, budget)
        return update_index(self.index, self._read, self.embedder, split, **options)  # type: ignore[arg-type]

    def _read(self, known: Known) -> Source:
        for item in read_corpus([self.folder], known=known):
            if isinstance(item, Unchanged):
                self.left.append(item.doc_id)
            yield item


@pytest.fixture
def collection(folder: Path, tmp_path: Path, static: Embedder) -> Collection:
    collection = Collection(folder, tmp_path / "index", static)
    report = collection.build()
    assert (report.documents, len(report.skipped)) == (10, 1)
    return collection


def test_files_that_did_not_change_are_not_read(collection: Collection) -> None:
    report = collection.update()
    assert not report.committed
    assert report.unchanged == 10
    assert collection.left == [*(f"notes/{n}.txt" for n in range(6)), "notes/guide.md"]
    (collection.folder / "3.txt").write_text(make_document(3, version=1).text)
    (collection.folder / "4.txt").unlink()
    (collection.folder / "guide.md").touch()
    report = collection.update()
    assert (report.changed, report.removed, report.unchanged) == (1, ("notes/4.txt",), 8)
    assert len(collection.left) == 5
    assert report.skipped[0].source.endswith("broken.pdf")


def test_another_chunking_reads_all_files_again(collection: Collection) -> None:
    report = collection.update(64, options=BuildOptions({"budget": 64}))
    assert (report.changed, collection.left) == (10, [])


def test_a_record_cannot_pass_for_a_file(collection: Collection, tmp_path: Path) -> None:
    with open_index(collection.index) as index:
        metadata = {d.doc_id: d.metadata for d in index.documents()}["notes/2.txt"]
    file = collection.folder / "2.txt"
    text = file.read_text()
    file.unlink()
    lie = {"doc_id": "notes/2.txt", "text": "Not what the file says.", **metadata}
    (collection.folder / "0.jsonl").write_text(json.dumps(lie) + "\n")
    collection.update()
    (collection.folder / "0.jsonl").unlink()
    file.write_text(text)
    report = collection.update()
    assert report.changed == 1
    with open_index(collection.index) as index:
        rows = index.rows_of(["notes/2.txt"])
        assert all(chunk.text in text for chunk in index.chunks(rows))


def test_says_what_was_never_there(collection: Collection, static: Embedder) -> None:
    split: Callable[..., object] = splitter(static)
    with pytest.raises(ValueError, match="not in the index"):
        update_index(collection.index, [Unchanged("nobody")], static, split)  # type: ignore[arg-type]
