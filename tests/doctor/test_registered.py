"""The list of registered models is read; uploads nobody uses are pointed out, never removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loragraft.adapter.findings import Severity
from loragraft.doctor.clean import find_leftovers, remove
from loragraft.doctor.registered import check_registered, find_blobs
from loragraft.doctor.rows import Row, Surroundings
from loragraft.ollama.record import Pending, Record, Registered
from tests.doctor.test_ollama import make_store

URL = "http://127.0.0.1:11434"
USED, SPARE = "a" * 64, "b" * 64
MODEL = Registered(
    url=URL, tag="mine:latest", bundle="/b", gguf="m.gguf", blob=SPARE, layer=USED, manifest="m",
    request="r", server_version="0.32.15", registered="2026-11-21T10:00:00+00:00",
)  # fmt: skip


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's folder with the rewritten file in use, and the upload beside it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LORAGRAFT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LORAGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return make_store(tmp_path / "home" / ".ollama" / "models", USED, SPARE)


def look() -> Row:
    (row,) = check_registered(Surroundings(environ={}))
    return row


def test_uploads_that_no_model_uses_are_listed_and_kept(store: Path, tmp_path: Path) -> None:
    Record().put(MODEL)
    (leftover,) = find_leftovers([tmp_path / "none"]).leftovers
    assert leftover.path == store / "blobs" / f"sha256-{SPARE}"
    assert leftover.size.bytes == 5_000
    assert "Restart Ollama" in leftover.kept
    assert remove(leftover).freed == 0
    assert leftover.path.exists()


def test_what_others_uploaded_or_a_model_uses_is_not_listed() -> None:
    assert find_blobs({}) == []
    Record().put(replace(MODEL, blob=USED))
    assert find_blobs({}) == []


def test_servers_elsewhere_keep_their_files_elsewhere() -> None:
    Record().put(replace(MODEL, url="http://elsewhere:11434"))
    assert find_blobs({}) == []


def test_a_broken_manifest_leaves_it_in_doubt(store: Path) -> None:
    Record().put(MODEL)
    (store / "manifests" / "broken").write_text("{")
    assert find_blobs({}) == []


def test_models_are_counted() -> None:
    assert look().facts["models"] == 0
    Record().put(MODEL)
    row = look()
    assert row.finding.severity is Severity.PASS
    assert row.finding.measured.startswith("1 models")


def test_what_was_cut_off_is_named() -> None:
    Record().put(Pending(URL, "half:latest", None, "", ""))
    row = look()
    assert row.finding.severity is Severity.WARN
    assert row.facts["cut_off"] == ["half:latest"]


@pytest.mark.parametrize("text", ["{", "[]", "\x00", '{"models": {}, "pending": {}}'])
def test_a_list_that_cannot_be_read_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ollama.json").write_text(text)
    assert look().finding.severity is Severity.WARN
    assert find_blobs({}) == []
