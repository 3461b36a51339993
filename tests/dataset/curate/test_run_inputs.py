"""What a run is given: places, broken lines, files that change, hostile rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loragraft.dataset.curate import filling
from loragraft.dataset.curate.run import curate
from loragraft.dataset.records import read_records
from loragraft.errors import InputError, LockedError
from tests.support.curation import ROWS, Killed, Noting, Paths, killed_at, make_paths
from tests.support.rows import write_rules


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Rules and raw rows."""
    return make_paths(tmp_path)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit after every batch."""
    monkeypatch.setattr(filling, "COMMIT_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("raw", "out", "words"),
    [("none.jsonl", "a.jsonl", "does not exist"), (".", "a.jsonl", "is no file"),
     ("raw.jsonl", "raw.jsonl/b/a.jsonl", "is no folder"), ("raw.jsonl", ".", "is a folder"),
     ("raw.jsonl", "clean", "no name for records"), ("raw.jsonl", ".jsonl", "no name for")],
)  # fmt: skip
def test_places_that_make_no_sense(paths: Paths, raw: str, out: str, words: str) -> None:
    folder = paths.out.parent
    with pytest.raises(InputError, match=words):
        curate(paths.rules, folder / raw, folder / out)


def test_folders_of_the_output_are_made(paths: Paths) -> None:
    out = paths.out.parent / "new" / "folders" / "clean.jsonl"
    curate(paths.rules, paths.raw, out)
    paths.run()
    assert out.read_bytes() == paths.out.read_bytes()


def test_a_row_without_an_id_is_called_by_what_it_holds(tmp_path: Path) -> None:
    rows = [{"q": f"Which of the {n} lamps burns?", "a": "the last"} for n in range(5)]
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "record: {kind: qa, task_type: {text: entity}, question: q, answers: a}\nrules: []\n"
    )
    names = []
    for order in (rows, [*rows[::-1], rows[2]]):
        raw = tmp_path / "raw.jsonl"
        raw.write_text("".join(json.dumps(row) + "\n" for row in order))
        assert curate(rules, raw, tmp_path / "clean.jsonl").report.kept == 5
        names.append(sorted(record.id for record in read_records(tmp_path / "clean.jsonl")))
    assert names[0] == names[1]
    assert all(name.startswith("row-") for name in names[0])


def test_records_without_an_id_are_given_one(tmp_path: Path) -> None:
    record = {"kind": "qa", "task_type": "entity", "question": "Who?", "answers": ["a miller"]}
    raw, rules = tmp_path / "raw.jsonl", tmp_path / "rules.yaml"
    raw.write_text("".join(json.dumps({**record, **more}) + "\n" for more in ({}, {"id": None})))
    rules.write_text("rules: []\n")
    assert curate(rules, raw, tmp_path / "clean.jsonl").report.kept == 1  # it is the same twice


def test_records_of_another_file_are_not_overwritten(paths: Paths) -> None:
    paths.run()
    before, other = paths.written(), paths.raw.with_name("other.jsonl")
    other.write_bytes(paths.raw.read_bytes() * 2)
    with pytest.raises(InputError, match=r"was made of raw\.jsonl, and this is other\.jsonl"):
        curate(paths.rules, other, paths.out)
    assert paths.written() == before
    assert curate(paths.rules, other, paths.out, replace=True).report.raw.name == "other.jsonl"


BROKEN = b'{"id": "a", \n\xff\xfe\n[1]\n{"id": "b", "likes": NaN}\n{"id": "b"'


def test_broken_lines_are_counted_and_named(paths: Paths) -> None:
    with paths.raw.open("ab") as file:
        file.write(BROKEN)
    report = paths.run().report
    assert (report.lines, report.broken) == (ROWS, 5)
    assert [item.line for item in report.broken_lines] == [ROWS + n for n in range(1, 6)]
    assert "cut off" in report.broken_lines[-1].reason
    paths.out.unlink()
    strict = pytest.raises(InputError, match=rf"line {ROWS + 1:,} is no JSON")
    with strict:
        paths.run(strict=True)
    assert not paths.out.exists()
    paths.run()
    with strict:
        paths.run(strict=True)


@pytest.mark.usefixtures("often")
def test_strict_counts_for_lines_that_an_earlier_run_passed_over(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = paths.raw.read_bytes()
    paths.raw.write_bytes(BROKEN + b"\n" + rows)
    for _ in killed_at(monkeypatch, 4, after=True):
        with pytest.raises(Killed):
            paths.run()
    with pytest.raises(InputError, match="line 1 is no JSON"):
        paths.run(strict=True)


def test_an_input_that_grows_meanwhile_is_refused(paths: Paths) -> None:
    class Writing(Noting):
        def begin(self, stage: str, total: int, unit: str = "bytes") -> None:
            if stage == "Curating":
                with paths.raw.open("a") as file:
                    file.write("{}\n")

    with pytest.raises(InputError, match="changed while it was read"):
        paths.run(progress=Writing([]))
    assert not paths.out.exists()
    assert paths.run().report.lines == ROWS + 1


def test_an_empty_file_keeps_nothing(paths: Paths) -> None:
    paths.raw.write_bytes(b"\n\n")
    report = paths.run().report
    assert (report.lines, report.kept) == (0, 0)
    assert paths.out.read_bytes() == b""


def test_two_at_once_are_refused(paths: Paths) -> None:
    class Again(Noting):
        def begin(self, stage: str, total: int, unit: str = "bytes") -> None:
            with pytest.raises(LockedError):
                paths.run()

    paths.run(progress=Again([]))


def test_no_row_makes_it_fail(tmp_path: Path) -> None:
    hostile: list[Any] = [
        {}, {"id": None}, {"id": ["x"]}, {"id": {}}, {"id": ""}, {"id": "x" * 5000}, {"id": "\x1b"},
        {"id": "a", "text": 5}, {"id": "b", "text": "x" * 30, "likes": "12e", "author": []},
        {"id": "c", "text": "x" * 30, "likes": 10**400, "author": "a"},
        {"id": "d", "text": ["", ""], "likes": 12}, {"id": True, "text": "x" * 30, "likes": 12},
        {"id": "e", "text": "\u202e" + "y" * 30, "likes": 12, "author": {"a": 1}},
    ]  # fmt: skip
    raw = tmp_path / "raw.jsonl"
    raw.write_text("".join(json.dumps(row) + "\n" for row in hostile))
    report = curate(write_rules(tmp_path / "rules.yaml"), raw, tmp_path / "clean.jsonl").report
    assert report.kept + report.dropped == len(hostile)
