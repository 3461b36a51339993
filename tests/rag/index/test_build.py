"""Building an index: what it holds, resuming, refusing, one writer at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loragraft.embedding.protocol import Embedder
from loragraft.errors import BundleError, InputError, LockedError, NonFiniteError, UnavailableError
from loragraft.rag.chunking.chunk import embedded_text
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions, BuildReport
from loragraft.rag.index.store import open_index
from loragraft.rag.index.writing import write_access
from loragraft.rag.records import Chunk, Document, Skipped
from tests.support.small_index import Counting, forbidden, make_document, make_documents, splitter

Build = Callable[..., BuildReport]


def test_holds_every_chunk_with_the_vector_of_its_text(
    build: Build, tmp_path: Path, static: Embedder
) -> None:
    documents = make_documents(20)
    report = build(documents, options=BuildOptions({"budget": 32}, sources=("papers",)))
    split = splitter(static)
    wanted = [chunk for document in documents for chunk in split(document)]
    assert (report.documents, report.chunks, report.committed) == (20, len(wanted), True)
    with open_index(tmp_path / "index") as index:
        assert list(index.iterate()) == wanted
        texts = [embedded_text(chunk) for chunk in wanted]
        np.testing.assert_allclose(index.vectors(range(len(wanted))), static.embed(texts))
        assert index.info.chunking == {"budget": 32}
        assert index.info.sources == ("papers",)
        assert index.info.dimensions == 24
        assert index.chunk(wanted[3].chunk_id) == wanted[3]
        assert index.chunk("nobody") is None
        assert [d.doc_id for d in index.documents()] == sorted(d.doc_id for d in documents)
        rows = index.rows_of(["doc3", "doc1", "nobody"])
        assert {chunk.doc_id for chunk in index.chunks(rows)} == {"doc1", "doc3"}


def test_finds_what_is_nearest_and_obeys_filters(
    build: Build, tmp_path: Path, static: Embedder
) -> None:
    build(make_documents(30))
    with open_index(tmp_path / "index") as index:
        everything = np.asarray(index.vectors(range(len(index))))
        queries = static.embed(["the violin and the ferry", "a magnet in winter"], query=True)
        scores, rows = index.search_dense(queries, 5)
        wanted = np.sort(queries @ everything.T, axis=1)[:, ::-1][:, :5]
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)
        np.testing.assert_allclose((everything[rows] * queries[:, None]).sum(2), scores, rtol=1e-5)
        allowed = index.rows_of(["doc7"])
        scores, rows = index.search_dense(queries, len(allowed) + 3, allowed)
        assert set(rows[0].tolist()) == {*allowed.tolist(), -1}
        assert np.isneginf(scores[:, -3:]).all()
        none = np.empty(0, np.int64)
        assert (index.search_dense(queries, 2, none)[1] == -1).all()
        with pytest.raises(InputError, match="23 dimensions"):
            index.search_dense(queries[:, :23], 5)
        with pytest.raises(InputError, match="NaN"):
            index.search_dense(queries * np.nan, 5)
        with pytest.raises(InputError, match="from 1 on"):
            index.search_dense(queries, 0)
        with pytest.raises(InputError, match="Rows"):
            index.search_dense(queries, 1, np.asarray([len(index)]))


def test_embeds_one_text_once(build: Build, static: Embedder, tmp_path: Path) -> None:
    text = make_document(1).text
    documents = [Document(f"d{n}", "", text, {"n": n}) for n in range(5)]
    report = build(documents)
    assert report.embedded * 5 == report.chunks
    with open_index(tmp_path / "index") as index:
        assert [c.metadata for c in index.iterate()][:: report.embedded] == [
            {"n": n} for n in range(5)
        ]


def test_skips_what_cannot_be_read_or_stored(build: Build, tmp_path: Path) -> None:
    good = make_document(1)
    report = build(
        [
            Skipped("broken.pdf", "It ends in the middle."),
            good,
            replace(good, text="Another one."),
            replace(good, doc_id="odd", metadata={"when": float("nan")}),
            replace(good, doc_id="lone", text="a \ud800 surrogate"),
            Document("empty", "", " \n"),
        ]
    )
    assert [skip.source for skip in report.skipped] == ["broken.pdf", "doc1", "odd", "lone"]
    assert report.notes == ("1 documents hold no text",)
    with open_index(tmp_path / "index") as index:
        assert {chunk.doc_id for chunk in index.iterate()} == {"doc1"}
        assert index.skipped() == list(report.skipped)
        assert index.info.skipped == 4


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([], "none was found"),
        ([Skipped("a.pdf", "It is encrypted.")], "1 could not be read .a.pdf: It is encrypted"),
        ([Document("a", "", " ")], "1 hold no text"),
    ],
)
def test_refuses_to_make_an_empty_index(build: Build, documents: list, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(documents)


def test_replaces_only_indexes_and_only_when_told(build: Build, tmp_path: Path) -> None:
    build(make_documents(3))
    with pytest.raises(BundleError, match="--replace"):
        build(make_documents(4))
    assert build(make_documents(4), replace=True).generation == 2
    with open_index(tmp_path / "index") as index:
        assert index.info.documents == 4
    names = {path.name for path in (tmp_path / "index").iterdir()}
    wanted = {"index.json", "chunks-000002.sqlite", "vectors-000002.faiss"}
    assert names - {".lock"} == wanted
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.md").write_text("mine")
    with pytest.raises(BundleError, match="is no index"), write_access(other):
        pass


def test_replaces_a_damaged_index(build: Build, tmp_path: Path) -> None:
    build(make_documents(3))
    (tmp_path / "index" / "index.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        open_index(tmp_path / "index")
    build(make_documents(3), replace=True)
    assert len(open_index(tmp_path / "index")) > 3


def test_goes_on_after_an_interruption(build: Build, tmp_path: Path, static: Embedder) -> None:
    documents, target = make_documents(120), tmp_path / "index"
    first = Counting(static, fail_after=300)
    with pytest.raises(KeyboardInterrupt):
        build_index(target, documents, first, splitter(static))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="never finished"):
        open_index(target)
    second = Counting(static)
    report = build_index(target, documents, second, splitter(static))  # type: ignore[arg-type]
    assert first.texts
    assert not set(first.texts) & set(second.texts)
    assert report.embedded == len(second.texts)
    build_index(tmp_path / "other", documents, static, splitter(static))
    with open_index(target) as mine, open_index(tmp_path / "other") as right:
        assert list(mine.iterate()) == list(right.iterate())
        rows = range(len(right))
        np.testing.assert_array_equal(mine.vectors(rows), right.vectors(rows))
    assert not (target / ".work").exists()


def test_a_broken_source_commits_nothing(build: Build, tmp_path: Path, static: Embedder) -> None:
    build(make_documents(3))
    with pytest.raises(RuntimeError, match="the source broke"):
        build(forbidden(make_documents(9)), replace=True)  # type: ignore[arg-type]
    assert open_index(tmp_path / "index").info.documents == 3


def test_one_writer_at_a_time(build: Build, tmp_path: Path) -> None:
    build(make_documents(2))
    with write_access(tmp_path / "index"), pytest.raises(LockedError):
        build(make_documents(2), replace=True)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda vectors: vectors * np.nan, NonFiniteError),
        (lambda vectors: vectors * 2, UnavailableError),
        (lambda vectors: vectors[1:], UnavailableError),
        (lambda vectors: vectors[0], UnavailableError),
    ],
)
def test_refuses_broken_vectors(
    change: Callable[[np.ndarray], np.ndarray],
    error: type[Exception],
    tmp_path: Path,
    static: Embedder,
) -> None:
    class Broken(Counting):
        def embed(self, texts: object, **options: object) -> object:
            return change(static.embed(texts))  # type: ignore[arg-type]

    with pytest.raises(error):
        build_index(tmp_path / "index", make_documents(2), Broken(static), splitter(static))  # type: ignore[arg-type]


def test_other_parts_are_committed_with_it(build: Build, tmp_path: Path) -> None:
    def write(folder: Path, chunks: Iterator[Chunk]) -> None:
        (folder / "ids.json").write_text(json.dumps([chunk.chunk_id for chunk in chunks]))

    build(make_documents(3), options=BuildOptions(parts={"lexical": write}))
    with open_index(tmp_path / "index") as index:
        folder = index.part("lexical")
        assert folder is not None
        ids = json.loads((folder / "ids.json").read_text())
        assert ids == [chunk.chunk_id for chunk in index.iterate()]
        assert index.part("nothing") is None
    with pytest.raises(InputError, match="cannot name"):
        build(make_documents(3), options=BuildOptions(parts={"../x": write}), replace=True)


def test_cannot_be_written_where_nothing_can(static: Embedder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((BundleError, InputError)):
        build_index(tmp_path / "file" / "index", make_documents(1), static, splitter(static))
    with pytest.raises(BundleError, match="no folder"):
        build_index(tmp_path / "file", make_documents(1), static, splitter(static))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="names and limits of Unix")
@pytest.mark.parametrize("name", ["x" * 300, "no\0name", os.fsdecode(b"caf\xe9")])
def test_cannot_be_called_anything(name: str, static: Embedder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Choose another folder"):
        build_index(tmp_path / name, make_documents(1), static, splitter(static))


def test_an_index_may_be_called_nearly_anything(static: Embedder, tmp_path: Path) -> None:
    target = tmp_path / "a ?#%41&\n'é\""
    build_index(target, make_documents(2), static, splitter(static))
    with open_index(target) as index:
        assert index.chunks([0])[0].doc_id == "doc0"


def test_a_strangers_index_json_stays(build: Build, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "index.json").write_text('{"name": "website"}')
    (folder / "style.css").write_text("a {}")
    with pytest.raises(BundleError, match=r"style\.css"):
        build(make_documents(2), replace=True)
    assert (folder / "index.json").read_text() == '{"name": "website"}'


def test_leftovers_of_a_kill_are_cleared(build: Build, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / ".index.json.123.tmp").write_text("{")
    (folder / "vectors-000004.faiss").write_bytes(b"x")
    build(make_documents(2))
    assert {p.name for p in folder.iterdir()} - {".lock"} == {
        "index.json", "chunks-000001.sqlite", "vectors-000001.faiss",
    }  # fmt: skip
