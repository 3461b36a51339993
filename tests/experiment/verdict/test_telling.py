"""A promotion told in the metadata of folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.checksums import CHECKSUMS_NAME, check_checksums, write_checksums
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.metadata import METADATA_NAME, read_metadata, write_metadata
from loragraft.engine.batch.specs import TransformersSpec
from loragraft.experiment.facts import changed, engine_facts
from loragraft.experiment.verdict.telling import tell_folders

ENTRY = {"experiment": "hybrid", "date": "2026-11-22", "gain": 0.08}


def bundle(folder: Path, *, checksums: bool = True) -> Path:
    """Write a folder with metadata and, if wanted, checksums."""
    folder.mkdir()
    write_metadata(folder, {"kind": "export", "name": "x"})
    (folder / "config.json").write_text("{}")
    if checksums:
        names = (METADATA_NAME, "config.json")
        write_checksums(folder, {name: sha256_file(folder / name) for name in names})
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Return every file."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("checksums", [True, False])
def test_a_folder_tells_and_stays_true(tmp_path: Path, checksums: bool) -> None:
    folder = bundle(tmp_path / "x", checksums=checksums)
    assert tell_folders([folder], ENTRY) == ((folder,), ())
    found = read_metadata(folder)
    assert found["evaluation"] == {**ENTRY, "history": []}
    assert found["name"] == "x"
    if checksums:
        assert check_checksums(folder) == []
    before = content(folder)
    tell_folders([folder], {**ENTRY, "date": "2027-01-01"})
    assert content(folder) == before


def test_earlier_ones_are_kept(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "x")
    for gain in (0.06, 0.07, 0.08):
        tell_folders([folder], {**ENTRY, "gain": gain})
    found = read_metadata(folder)["evaluation"]
    assert (found["gain"], [one["gain"] for one in found["history"]]) == (0.08, [0.07, 0.06])


@pytest.mark.parametrize("odd", [3, [], {"history": 3, "gain": 1}, None])
def test_what_somebody_else_wrote_there_does_no_harm(tmp_path: Path, odd: Any) -> None:  # noqa: ANN401
    folder = bundle(tmp_path / "x")
    write_metadata(folder, {**read_metadata(folder), "evaluation": odd})
    tell_folders([folder], ENTRY)
    assert read_metadata(folder)["evaluation"]["experiment"] == "hybrid"


@pytest.mark.parametrize("name", [f"{CHECKSUMS_NAME}.asc", f"{METADATA_NAME}.sig"])
def test_what_is_signed_is_left_alone(tmp_path: Path, name: str) -> None:
    folder = bundle(tmp_path / "x")
    (folder / name).write_text("signature")
    before = content(folder)
    told, notes = tell_folders([folder], ENTRY)
    assert told == ()
    assert f"{name} signs" in notes[0]
    assert content(folder) == before


def test_what_is_no_folder_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    broken = bundle(tmp_path / "broken")
    (broken / METADATA_NAME).write_text("{")
    told, notes = tell_folders([tmp_path / "plain", broken], ENTRY)
    assert told == ()
    assert "there is no such file" in notes[0]
    assert "not readable as JSON" in notes[1]
    assert (broken / METADATA_NAME).read_text() == "{"


def test_no_run_becomes_stale_by_it(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "x")
    spec = TransformersSpec(kind="transformers", model=str(folder), adapter=str(folder))
    before = json.loads(json.dumps(engine_facts(spec)))
    tell_folders([folder], ENTRY)
    assert changed(before, engine_facts(spec)) == []
    (folder / "config.json").write_text('{"r": 4}')
    assert changed(before, engine_facts(spec)) == ["adapter", "model"]
