"""Updating an index: only what changed, transactional, whatever the history."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.embedding.protocol import Embedder
from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildOptions, BuildReport
from loragraft.rag.index.store import Index, open_index
from loragraft.rag.index.update import update_index
from loragraft.rag.index.verify import verify_index
from loragraft.rag.records import Chunk, Document, Heading, Skipped
from loragraft.rag.search.lexical import LexicalSearch, write_lexical
from tests.support.small_index import (
    Counting,
    build_static,
    make_document,
    make_documents,
    splitter,
)

Build = Callable[..., BuildReport]
Update = Callable[..., tuple[BuildReport, Counting]]


@pytest.fixture
def update(tmp_path: Path, static: Embedder) -> Update:
    """Update ``tmp_path / "index"``; returns the report and what was embedded."""

    def run(
        documents: Sequence[Document | Skipped], **options: object
    ) -> tuple[BuildReport, Counting]:
        counting = Counting(static)
        report = update_index(
            tmp_path / "index",
            documents,
            counting,  # type: ignore[arg-type]
            splitter(static),
            **options,  # type: ignore[arg-type]
        )
        return report, counting

    return run


def content(index: Index) -> dict[str, tuple[Chunk, bytes]]:
    """Return every chunk with its vector, by id."""
    vectors = index.vectors(range(len(index)))
    return {
        chunk.chunk_id: (chunk, vectors[row].tobytes()) for row, chunk in enumerate(index.iterate())
    }


def test_leaves_an_unchanged_collection_alone(build: Build, update: Update, tmp_path: Path) -> None:
    built = build(make_documents(40))
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "index").iterdir()}
    report, counting = update(make_documents(40)[::-1])
    assert (report.committed, report.unchanged, report.generation) == (False, 40, 1)
    assert counting.texts == []
    assert report.chunks == built.chunks
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "index").iterdir()}
    assert {n: t for n, t in before.items() if n != ".lock"} == {
        n: t for n, t in after.items() if n not in (".lock", ".work")
    }
    assert not (tmp_path / "index" / ".work").exists()


def test_embeds_only_what_is_new(build: Build, update: Update, tmp_path: Path) -> None:
    build(make_documents(30))
    documents = make_documents(32)
    documents[4] = make_document(4, version=1)
    del documents[9]
    report, counting = update(documents)
    assert (report.added, report.changed, report.unchanged) == (2, 1, 28)
    assert report.removed == ("doc9",)
    assert {text.split("Number ")[1].split("\n")[0] for text in counting.texts} == {"4", "30", "31"}
    with open_index(tmp_path / "index") as index:
        assert "doc9" not in {d.doc_id for d in index.documents()}


def test_sections_that_did_not_change_cost_nothing(
    build: Build, update: Update, tmp_path: Path
) -> None:
    text, headings = "", []
    for number in range(12):
        headings.append(Heading(2, f"Part {number}", len(text) + 8, len(text)))
        text += f"Part {number:2}\n{make_document(number).text}\n\n"
    document = Document("long", "Long", text, {}, tuple(headings))
    built = build([document])
    added = replace(document, text=text + "The lamp and the poem 11 meet the ferry.")
    report, counting = update([added])
    assert report.changed == 1
    assert report.reused >= built.chunks * 10 // 12
    assert 0 < len(counting.texts) <= built.chunks // 12 + 1


def test_new_metadata_costs_no_embedding(build: Build, update: Update, tmp_path: Path) -> None:
    build(make_documents(5))
    documents = [
        replace(d, metadata={"year": 2026}, sha256=f"{d.sha256}x") for d in make_documents(5)
    ]
    report, counting = update(documents)
    assert counting.texts == []
    assert report.changed == 5
    with open_index(tmp_path / "index") as index:
        assert all(chunk.metadata == {"year": 2026} for chunk in index.iterate())


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    states=st.lists(
        st.dictionaries(st.integers(0, 9), st.integers(0, 2), min_size=1), min_size=2, max_size=4
    )
)
def test_any_history_ends_as_a_fresh_build(
    states: list[dict[int, int]], static: Embedder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, split = tmp_path_factory.mktemp("history"), splitter(static)

    def documents(state: dict[int, int]) -> list[Document]:
        return [make_document(n, version=v, sentences=6) for n, v in state.items()]

    build_index(folder / "index", documents(states[0]), static, split)
    for state in states[1:]:
        update_index(folder / "index", documents(state), static, split)
    build_index(folder / "fresh", documents(states[-1]), static, split)
    with open_index(folder / "index") as mine, open_index(folder / "fresh") as fresh:
        assert content(mine) == content(fresh)
    assert all(f.severity.value == "pass" for f in verify_index(folder / "index"))


def test_another_chunking_splits_all_again(build: Build, tmp_path: Path, static: Embedder) -> None:
    build(make_documents(6), options=BuildOptions({"budget": 32}))
    options = BuildOptions({"budget": 64})
    split = splitter(static, 64)
    report = update_index(tmp_path / "index", make_documents(6), static, split, options=options)
    assert report.changed == 6
    with open_index(tmp_path / "index") as index:
        assert index.info.chunking == {"budget": 64}
        assert max(chunk.tokens for chunk in index.iterate()) > 32


def test_refuses_another_embedder(build: Build, tmp_path: Path, static: Embedder) -> None:
    build(make_documents(3))
    other = StaticEmbedder(build_static(tmp_path / "other", seed=1), "other")
    with pytest.raises(InputError, match="model differ"):
        update_index(tmp_path / "index", make_documents(3), other, splitter(static))


def test_never_empties_an_index(build: Build, update: Update, tmp_path: Path) -> None:
    build(make_documents(3))
    with pytest.raises(InputError, match="stays as it was"):
        update([])
    with pytest.raises(InputError, match="share is gone"):
        update([Skipped("papers", "The share is gone.")])
    assert open_index(tmp_path / "index").info.documents == 3


def test_needs_an_index(update: Update, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no index"):
        update(make_documents(3))
    assert not (tmp_path / "index").exists()


def test_notes_what_can_no_longer_be_read(build: Build, update: Update, tmp_path: Path) -> None:
    build(make_documents(3))
    report, _ = update([*make_documents(3), Skipped("b.pdf", "It is broken.")])
    assert report.committed
    with open_index(tmp_path / "index") as index:
        assert index.skipped() == [Skipped("b.pdf", "It is broken.")]
        assert index.info.files["vectors"].name == "vectors-000001.faiss"
    report, _ = update([*make_documents(3), Skipped("b.pdf", "It is broken.")])
    assert not report.committed


def test_readers_keep_their_state(build: Build, update: Update, tmp_path: Path) -> None:
    build(make_documents(10))
    with open_index(tmp_path / "index") as reader:
        before = content(reader)
        update([make_document(n, version=1) for n in range(5)])
        assert content(reader) == before
        scores, rows = reader.search_dense(reader.vectors([3]), 1)
        assert rows[0, 0] == 3
        np.testing.assert_allclose(scores, 1, rtol=1e-5)
    with open_index(tmp_path / "index") as reader:
        assert reader.info.documents == 5


def test_a_reader_between_two_states_reads_again(
    build: Build, update: Update, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(make_documents(4))
    from loragraft.rag.index import store

    real, calls = store.read_info, []

    def late(path: Path) -> object:
        info = real(path)
        if not calls:  # an update commits between reading index.json and opening its files
            calls.append(update(make_documents(6)))
        return info

    monkeypatch.setattr(store, "read_info", late)
    with open_index(tmp_path / "index") as index:
        assert index.info.documents == 6


def test_other_parts_follow(build: Build, update: Update, tmp_path: Path) -> None:
    def write(folder: Path, chunks: Iterator[Chunk]) -> None:
        (folder / "ids.json").write_text(json.dumps([chunk.chunk_id for chunk in chunks]))

    options = BuildOptions(parts={"lexical": write})
    build(make_documents(3), options=options)
    update(make_documents(4), options=options)
    with open_index(tmp_path / "index") as index:
        folder = index.part("lexical")
        assert folder is not None
        ids = json.loads((folder / "ids.json").read_text())
        assert ids == [chunk.chunk_id for chunk in index.iterate()]
    assert not (tmp_path / "index" / "lexical-000001").exists()


def test_other_parts_and_searches_are_added_later(
    build: Build, update: Update, tmp_path: Path
) -> None:
    def write(folder: Path, chunks: Iterator[Chunk]) -> None:
        (folder / "count").write_text(str(len(list(chunks))))

    built = build(make_documents(270))
    parts = BuildOptions(parts={"lexical": write})
    report, counting = update(make_documents(270), options=parts)
    assert (report.committed, report.changed, counting.texts) == (True, 0, [])
    ivf = BuildOptions(search="ivf")
    report, counting = update(make_documents(270), options=ivf)
    assert (report.search.kind, report.search.asked, counting.texts) == ("ivf", "ivf", [])
    with open_index(tmp_path / "index") as index:
        folder = index.part("lexical")
        assert folder is not None
        assert (folder / "count").read_text() == str(built.chunks)
        assert index.approximate is not None
        assert index.info.files["vectors"].name == "vectors-000001.faiss"
    assert all(f.severity.value == "pass" for f in verify_index(tmp_path / "index"))
    report, _ = update(make_documents(270), options=BuildOptions())
    assert report.search.kind == "exact"
    assert not list((tmp_path / "index").glob("search-*"))


def test_work_that_nobody_wants_any_more_is_forgotten(
    build: Build, update: Update, tmp_path: Path, static: Embedder
) -> None:
    build(make_documents(3))
    documents = [make_document(n, version=2) for n in range(80)]
    interrupted = Counting(static, fail_after=300)
    with pytest.raises(KeyboardInterrupt):
        update_index(tmp_path / "index", documents, interrupted, splitter(static))  # type: ignore[arg-type]
    update(make_documents(3))
    assert not (tmp_path / "index" / ".work").exists()


def test_an_interrupted_update_leaves_the_old_state(
    build: Build, tmp_path: Path, static: Embedder
) -> None:
    build(make_documents(3))
    with open_index(tmp_path / "index") as index:
        before = content(index)
    documents = [make_document(n, version=2) for n in range(80)]
    first = Counting(static, fail_after=300)
    with pytest.raises(KeyboardInterrupt):
        update_index(tmp_path / "index", documents, first, splitter(static))  # type: ignore[arg-type]
    with open_index(tmp_path / "index") as index:
        assert content(index) == before
    (finding,) = [f for f in verify_index(tmp_path / "index") if f.severity.value != "pass"]
    assert finding.code == "index.unfinished"
    second = Counting(static)
    update_index(tmp_path / "index", documents, second, splitter(static))  # type: ignore[arg-type]
    assert not set(first.texts) & set(second.texts)
    assert all(f.severity.value == "pass" for f in verify_index(tmp_path / "index"))


def test_unchanged_documents_are_not_split(build: Build, tmp_path: Path, static: Embedder) -> None:
    build(make_documents(9))
    split = splitter(static)
    heard: list[str] = []

    def listening(document: Document) -> Sequence[Chunk]:
        heard.append(document.doc_id)
        return split(document)

    update_index(tmp_path / "index", make_documents(10), static, listening)
    assert heard == ["doc9"]


@pytest.mark.parametrize("role", ["chunks", "vectors"])
def test_a_lost_file_is_named_and_nothing_else_is_deleted(
    role: str, build: Build, update: Update, tmp_path: Path
) -> None:
    build(make_documents(3))
    index = tmp_path / "index"
    lost = next(index.glob(f"{role}-*"))
    lost.rename(index / lost.name.replace("000001", "000007"))
    before = {path.name for path in index.iterdir()}
    with pytest.raises(InputError, match=f"lacks the file {lost.name}"):
        update(make_documents(3))
    assert {path.name for path in index.iterdir()} == before


def test_a_store_that_lost_documents_is_not_carried_on(
    build: Build, update: Update, tmp_path: Path
) -> None:
    build(make_documents(3))
    with sqlite3.connect(tmp_path / "index" / "chunks-000001.sqlite") as base:
        base.execute("DELETE FROM documents WHERE doc_id = 'doc1'")
    base.close()
    with pytest.raises(InputError, match=r"2 documents.* were expected"):
        update(make_documents(4))


def test_a_lost_part_is_written_again(build: Build, tmp_path: Path, static: Embedder) -> None:
    options = BuildOptions(parts={"lexical": write_lexical})
    build(make_documents(3), options=options)
    index = tmp_path / "index"
    (index / "lexical-000001" / "rows.npy").unlink()
    report = update_index(index, make_documents(3), static, splitter(static), options=options)
    assert report.committed
    with open_index(index) as opened:
        found = LexicalSearch(opened.part("lexical") or index, len(opened))
        assert len(found.search("the", 3)[1]) == 3
