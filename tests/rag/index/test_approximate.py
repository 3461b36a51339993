"""Approximate search against exact search, built, updated and measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest

from loragraft.embedding.protocol import Embedder
from loragraft.rag.index import approximate
from loragraft.rag.index.approximate import choose_kind, open_approximate
from loragraft.rag.index.dense import (
    ExactVectors,
    Floats,
    blocks_of,
    overlap,
    questions_beside,
    write_exact,
    write_index,
)
from loragraft.rag.index.layout import Asked, Kind, SearchInfo
from loragraft.rag.index.options import BuildOptions, BuildReport
from loragraft.rag.index.store import open_index
from loragraft.rag.index.update import update_index
from loragraft.rag.index.verify import verify_index
from tests.support.small_index import make_documents, splitter

COUNT, WIDTH = 3000, 32
KINDS = ("hnsw", "ivf", "ivf-pq")


def _clustered(count: int, seed: int = 0) -> Floats:
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((40, WIDTH))
    vectors = centres[generator.integers(40, size=count)]
    vectors = vectors + 0.4 * generator.standard_normal((count, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _exact(folder: Path, vectors: Floats, name: str = "exact.faiss") -> ExactVectors:
    write_exact(folder, name, vectors.shape, blocks_of(vectors, 700))
    return ExactVectors(folder / name, WIDTH)


def test_the_file_is_as_faiss_writes_it(tmp_path: Path) -> None:
    vectors = _clustered(1234)
    _exact(tmp_path, vectors)
    index = faiss.IndexFlatIP(WIDTH)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "theirs.faiss"))
    assert (tmp_path / "theirs.faiss").read_bytes() == (tmp_path / "exact.faiss").read_bytes()


def test_recall_is_measured_with_questions_beside_chunks() -> None:
    vectors, rows = _clustered(100), np.arange(0, 100, 2)
    asked = questions_beside(vectors, rows, seed=3)
    np.testing.assert_allclose(np.linalg.norm(asked, axis=1), 1, rtol=1e-5)
    cosines = (asked * vectors[rows]).sum(1)
    assert 0.8 < cosines.min() <= cosines.max() < 0.99
    assert (asked == questions_beside(vectors, rows, seed=3)).all()
    assert (asked != questions_beside(vectors, rows, seed=4)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_finds_nearly_all_and_says_how_much(kind: Kind, tmp_path: Path) -> None:
    exact = _exact(tmp_path, _clustered(COUNT))
    made = approximate.build(kind, exact)
    info = made.measured()
    assert info is not None
    assert info.recall is not None
    assert info.recall >= 0.95
    write_index(made.index, tmp_path, "search.faiss")
    opened = open_approximate(tmp_path / "search.faiss", info, exact)
    queries = _clustered(50, seed=1)
    scores, rows = opened.search(queries, 10)
    assert overlap(rows, exact.search(queries, 10)[1]) > 0.9
    np.testing.assert_allclose(
        (exact.array[rows] * queries[:, None]).sum(2), scores, rtol=1e-4, atol=1e-5
    )
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    scores, rows = opened.search(queries[:1], COUNT + 5)
    assert len(set(rows[0][rows[0] >= 0].tolist())) == (rows[0] >= 0).sum()
    assert np.isneginf(scores[rows < 0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_follows_changes(kind: Kind, tmp_path: Path) -> None:
    vectors = _clustered(COUNT)
    made = approximate.build(kind, _exact(tmp_path, vectors))
    info = made.measured()
    assert info is not None
    write_index(made.index, tmp_path, "search.faiss")
    source = np.arange(COUNT + 50)
    source[COUNT:] = -1
    if kind != "hnsw":  # rows 7 and 8 leave, and the last two of the old ones take their places
        source = source[: COUNT + 48]
        source[[7, 8]] = [COUNT - 1, COUNT - 2]
        source[COUNT - 2 :] = -1
    fresh = _clustered(COUNT + 50, seed=3)
    now = np.where((source >= 0)[:, None], vectors[source], fresh[: len(source)])
    exact = _exact(tmp_path, now, "exact2.faiss")
    path = tmp_path / "search.faiss"
    after = approximate.updated(path, info, exact, source, COUNT)
    assert after is not None
    again = after.measured()
    assert again is not None
    assert again.sample == 200
    new = np.nonzero(source != np.arange(len(source)))[0]
    found = after.search(np.ascontiguousarray(exact.array[new]), 1)[1][:, 0]
    assert (found == new).mean() > 0.9
    gone = np.arange(5, COUNT)
    assert (approximate.updated(path, info, exact, gone, COUNT) is None) or kind != "hnsw"


def test_compares_more_candidates_where_compression_hides_the_nearest(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((COUNT, 64)).astype(np.float32)
    noise[:, 0] += 12  # one dense cluster: all are about equally near
    vectors = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    write_exact(tmp_path, "exact.faiss", vectors.shape, blocks_of(vectors))
    made = approximate.build("ivf-pq", ExactVectors(tmp_path / "exact.faiss", 64))
    before = dict(made.parameters)
    info = made.measured()
    assert info is not None
    assert info.recall is not None
    assert info.recall >= 0.95
    assert info.parameters["candidates"] > before["candidates"]


def test_stays_exact_where_nothing_finds_enough(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((COUNT, WIDTH)).astype(np.float32)
    made = approximate.build("ivf-pq", _exact(tmp_path, vectors))
    assert made.measured(target=1.01) is None


@pytest.mark.parametrize(
    ("asked", "count", "memory", "kind"),
    [
        ("auto", 99_999, 1 << 40, "exact"),
        ("auto", 100_000, 1 << 40, "ivf"),
        ("auto", 1_000_000, 1 << 30, "ivf-pq"),
        ("exact", 1_000_000, 1 << 30, "exact"),
        ("hnsw", 2_000, 1 << 30, "hnsw"),
        ("hnsw", 500, 1 << 30, "exact"),
    ],
)
def test_chooses_by_size_and_memory(asked: Asked, count: int, memory: int, kind: str) -> None:
    assert choose_kind(asked, count, 384, 100_000, memory) == kind


def test_an_index_builds_keeps_and_verifies_it(
    build: Callable[..., BuildReport], tmp_path: Path, static: Embedder
) -> None:
    options = BuildOptions(search="auto", approximate_from=1000)
    report = build(make_documents(270), options=options)
    assert report.chunks > 1000
    assert report.search.kind == "ivf"
    with open_index(tmp_path / "index") as index:
        assert index.approximate is not None
        rows = index.search_dense(index.vectors([5, 9]), 1)[1]
        assert rows[:, 0].tolist() == [5, 9]
    documents = make_documents(280)[3:]
    report = update_index(tmp_path / "index", documents, static, splitter(static))
    assert report.search.kind == "ivf"
    findings = verify_index(tmp_path / "index")
    assert "search.recall" in {f.code for f in findings}
    assert all(f.severity.value == "pass" for f in findings)
    assert isinstance(report.search, SearchInfo)
