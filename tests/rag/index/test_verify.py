"""Every kind of damage is found, a sound index passes."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragraft.adapter.findings import Severity
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError, UnavailableError
from loragraft.rag.index.approximate import open_approximate
from loragraft.rag.index.dense import ExactVectors, write_exact
from loragraft.rag.index.layout import Kind, read_info
from loragraft.rag.index.options import BuildOptions, BuildReport
from loragraft.rag.index.stats import measure_index
from loragraft.rag.index.store import open_index
from loragraft.rag.index.verify import verify_index
from tests.support.small_index import build_static, make_documents

Build = Callable[..., BuildReport]


@pytest.fixture
def index(build: Build, tmp_path: Path) -> Path:
    """A sound index."""
    build(make_documents(8))
    return tmp_path / "index"


def _codes(path: Path, embedder: Embedder | None = None) -> set[str]:
    opener = None if embedder is None else lambda: embedder
    found = verify_index(path, opener)
    return {finding.code for finding in found if finding.severity is not Severity.PASS}


def _edit(path: Path, **changes: object) -> None:
    file = path / "index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_passes_a_sound_index(index: Path, static: Embedder) -> None:
    findings = verify_index(index, lambda: static)
    assert {finding.severity for finding in findings} == {Severity.PASS}
    assert {f.code for f in findings} >= {
        "index.files", "store.whole", "store.rows", "chunks.texts", "vectors.values",
        "embedder.identity", "embedder.vectors",
    }  # fmt: skip


@pytest.mark.parametrize("role", ["chunks", "vectors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "bit", "empty"])
def test_finds_damaged_files(index: Path, role: str, damage: str) -> None:
    path = index / read_info(index).files[role].name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        data[len(data) * 3 // 4] ^= 0x40
        path.write_bytes(data)
    codes = _codes(index)
    assert ("index.missing" if damage == "missing" else "index.changed") in codes
    if damage in ("missing", "cut", "empty") and role == "vectors":
        with pytest.raises(InputError):
            open_index(index)


def test_finds_changed_chunks_and_lost_rows(index: Path) -> None:
    with sqlite3.connect(index / "chunks-000001.sqlite") as base:
        base.execute("UPDATE chunks SET text = replace(text, 'the', 'teh') WHERE row = 3")
        base.execute("DELETE FROM chunks WHERE row = 5")
    base.close()
    assert _codes(index) == {"index.changed", "chunks.changed", "store.rows"}
    with open_index(index) as opened, pytest.raises(InputError, match="lacks 1"):
        opened.chunks([4, 5])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_flipped_bit_is_found_and_breaks_nothing(index: Path, data: st.DataObject) -> None:
    role = data.draw(st.sampled_from(["chunks", "vectors"]))
    path = index / read_info(index).files[role].name
    right = path.read_bytes()
    head = st.integers(0, 120)  # where the formats say what follows
    place = data.draw(head | st.integers(0, len(right) - 1))
    wrong = bytearray(right)
    wrong[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(wrong)
    try:
        assert "index.changed" in _codes(index)
        with suppress(InputError), open_index(index) as opened:
            _scores, rows = opened.search_dense(np.ones((1, 24), np.float32), 5)
            opened.chunks(rows[0])
            measure_index(opened)
    finally:
        path.write_bytes(right)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf-pq"])
def test_a_damaged_approximate_index_is_not_asked(
    kind: Kind, build: Build, tmp_path: Path, static: Embedder
) -> None:
    build(make_documents(260), options=BuildOptions(search=kind))
    index = tmp_path / "index"
    path = index / read_info(index).files["search"].name
    right = path.read_bytes()
    path.write_bytes(right[:1000] + bytes(len(right) - 1000))
    assert _codes(index) == {"index.changed"}
    path.write_bytes(right[:-1])
    with pytest.raises(InputError, match="were written"):
        open_index(index)
    path.write_bytes(right)
    vectors = static.embed(["river", "stone", "cloud", "lamp", "poem", "ferry", "orbit"])
    write_exact(tmp_path, "few.faiss", vectors.shape, [vectors])
    few = ExactVectors(tmp_path / "few.faiss", 24)
    with pytest.raises(InputError, match="over 7 vectors"):
        open_approximate(path, read_info(index).search, few)


def test_finds_another_embedder(index: Path, static: Embedder, tmp_path: Path) -> None:
    other = StaticEmbedder(build_static(tmp_path / "other", seed=1), "other")
    assert _codes(index, other) == {"embedder.identity"}

    class Claimed(StaticEmbedder):
        identity = static.identity

    assert _codes(index, Claimed(tmp_path / "other", "other")) == {"embedder.vectors"}

    def gone() -> Embedder:
        raise UnavailableError("It is not here.")

    assert {f.code for f in verify_index(index, gone) if f.severity is Severity.FAIL} == {
        "embedder.missing"
    }


def test_names_leftovers(index: Path) -> None:
    (index / "vectors-000009.faiss").write_bytes(b"x")
    assert _codes(index) == {"index.leftovers"}
    (index / ".work").mkdir()
    assert _codes(index) == {"index.unfinished"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 0}, "format 0; this loragraft reads format 1"),
        ({"format": 2}, "format 2"),
        ({"chunks": -1}, "damaged"),
        ({"chunks": "many"}, "damaged"),
        ({"chunks": 0}, "damaged"),
        ({"files": {}}, "damaged"),
        ({"files": None}, "damaged"),
        ({"unknown": 1}, "damaged"),
        ({"identity": None}, "damaged"),
        ({"search": {"kind": "magic"}}, "damaged"),
        ({"search": {"asked": "fast"}}, "damaged"),
        ({"search": {"parameters": {"effort": "high"}}}, "damaged"),
        ({"search": {"recall": "much"}}, "damaged"),
        ({"chunking": None}, "damaged"),
        ({"spec": []}, "damaged"),
        ({"sources": [5]}, "damaged"),
        ({"sources": ["\ud800"]}, "damaged"),
        ({"embedder": 5}, "damaged"),
        (
            {"files": {"chunks": {"name": "../../x", "bytes": 1, "sha256": "0" * 64},
                       "vectors": {"name": "v", "bytes": 1, "sha256": "0" * 64}}},
            "names the file",
        ),
    ],
)  # fmt: skip
def test_refuses_a_strange_description(index: Path, changes: dict, words: str) -> None:
    _edit(index, **changes)
    with pytest.raises(InputError, match=words):
        open_index(index)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"format": 1}'])
def test_refuses_a_broken_description(index: Path, content: bytes) -> None:
    (index / "index.json").write_bytes(content)
    with pytest.raises(InputError):
        open_index(index)


def test_says_what_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no index"):
        open_index(tmp_path / "nothing")
    with pytest.raises(InputError, match="is no index"):
        open_index(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        open_index(tmp_path / "file")


def test_counts_what_is_there(index: Path) -> None:
    with open_index(index) as opened:
        stats = measure_index(opened)
        tokens = sorted(chunk.tokens for chunk in opened.iterate())
    assert (stats.documents, stats.chunks, stats.dimensions) == (8, len(tokens), 24)
    assert (stats.shortest, stats.longest) == (tokens[0], tokens[-1])
    assert stats.median == tokens[(len(tokens) - 1) // 2]
    assert stats.bytes["vectors"] == 45 + len(tokens) * 24 * 4
    json.dumps(stats.to_json())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chunks SET text = x'ff00'",
        "UPDATE chunks SET headings = '[1]'",
        "UPDATE chunks SET start = 'x'",
        "UPDATE chunks SET own = '[1]'",
        "UPDATE documents SET shared = '5', metadata = '5'",
        "UPDATE documents SET title = x'00'",
        "CREATE TRIGGER t AFTER INSERT ON skipped BEGIN DELETE FROM chunks; END",
        "CREATE VIEW v AS SELECT * FROM chunks",
    ],
)
def test_values_that_are_none_of_ours_are_refused(
    index: Path, static: Embedder, statement: str
) -> None:
    with sqlite3.connect(index / "chunks-000001.sqlite") as base:
        base.execute(statement)
    base.close()
    _edit_sizes(index)
    assert "index.changed" in _codes(index, static)
    with pytest.raises(InputError, match="again"):
        _read_chunk(index)


def _read_chunk(index: Path) -> None:
    with open_index(index) as opened:
        opened.chunks([1])


def _edit_sizes(index: Path) -> None:
    """Let index.json say that every file has the size that it has."""
    files = json.loads((index / "index.json").read_text())["files"]
    for file in files.values():
        file["bytes"] = (index / file["name"]).stat().st_size
    _edit(index, files=files)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of Unix")
def test_does_not_wait_for_a_pipe(index: Path) -> None:
    path = index / "chunks-000001.sqlite"
    path.unlink()
    os.mkfifo(path)
    assert "index.missing" in _codes(index)


def test_figures_of_a_store_without_documents(index: Path) -> None:
    with sqlite3.connect(index / "chunks-000001.sqlite") as base:
        base.execute("DELETE FROM documents")
    base.close()
    with open_index(index) as opened:
        assert measure_index(opened).characters == 0
