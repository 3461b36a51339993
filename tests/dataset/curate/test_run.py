"""A raw file becomes a file of records: the same bytes however often it was interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from loragraft.dataset.curate import filling, publishing, run
from loragraft.dataset.curate.report import page_path, report_path
from loragraft.dataset.curate.run import curate
from loragraft.dataset.records import asked, read_records
from loragraft.errors import InputError
from tests.support.curation import ROWS, Killed, Noting, Paths, killed_at, make_paths
from tests.support.rows import RULES, make_row, write_rows, write_rules


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, bytes]:
    """What an unbroken run writes."""
    paths = make_paths(tmp_path_factory.mktemp("unbroken"))
    paths.run()
    return paths.written()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The same input, elsewhere."""
    return make_paths(tmp_path)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit after every batch."""
    monkeypatch.setattr(filling, "COMMIT_SECONDS", 0.0)


def test_what_is_kept_passes_every_rule_and_what_is_dropped_is_counted(paths: Paths) -> None:
    report = paths.run().report
    records = list(read_records(paths.out))
    assert len(records) == report.kept > 100
    rows = {(row["id"], row["text"]): row for row in map(make_row, range(ROWS))}
    texts: set[str] = set()
    authors: Counter[str] = Counter()
    for record in records:
        row = rows[record.id, asked(record)]
        assert len(row["text"]) >= 20
        assert row["likes"] >= 10
        assert row["text"].casefold() not in texts
        texts.add(row["text"].casefold())
        authors[row["author"]] += 1
    assert max(authors.values()) == 12
    assert report.kept + report.dropped == report.lines == ROWS
    by_name = {reason.name: reason for reason in report.reasons}
    assert all(by_name[name].dropped for name in (
        "length", "range", "same id", "per author", "exact duplicates", "missing field"
    ))  # fmt: skip
    assert by_name["range"].missing == by_name["missing field"].dropped
    assert "likes is missing" in by_name["missing field"].samples[0].measured
    for reason in report.reasons:
        assert len(reason.samples) == min(reason.dropped, 5)
    left = ROWS
    for reason in report.reasons[:-1]:
        assert reason.judged == left
        left -= reason.dropped + reason.missing
    assert left == report.kept


def test_a_row_that_another_rule_drops_never_speaks_against_a_later_one(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "text": "the same words", "author": "a"},
        {"id": "2", "text": "other words", "author": "a"},  # one too many of a
        {"id": "3", "text": "other words", "author": "b"},
        {"id": "4", "text": "the same words", "author": "c"},  # as 1
        {"id": "5", "text": "new words", "author": "c"},
    ]
    raw = tmp_path / "raw.jsonl"
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    head, tail = RULES.split("rules:")[0], RULES[RULES.index("record:") :]
    cap = "  - {kind: per_author, field: author, max: 1}\n"
    same = "  - {kind: exact_duplicates, field: text}\n"
    for order in (cap + same, same + cap):
        rules = write_rules(tmp_path / "rules.yaml", f"{head}rules:\n{order}{tail}")
        out = tmp_path / "clean.jsonl"
        curate(rules, raw, out)
        assert [record.id for record in read_records(out)] == ["1", "3", "5"]


@pytest.mark.parametrize(("name", "value"), [("BATCH", 37), ("BATCH_BYTES", 5_000)])
def test_batches_change_nothing(
    paths: Paths,
    unbroken: tuple[bytes, ...],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: int,
) -> None:
    monkeypatch.setattr(filling, name, value)
    paths.run()
    assert paths.written() == unbroken


@pytest.mark.usefixtures("often")
def test_a_run_that_dies_at_any_commit_ends_with_the_same_bytes(
    paths: Paths, unbroken: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, after in [(1, False), (1, True), (2, False), (4, True), (3, False), (2, True)]:
        for _ in killed_at(monkeypatch, number, after=after):
            with pytest.raises(Killed):
                paths.run()
        assert not paths.out.exists()
    assert not paths.run().unchanged
    assert paths.written() == unbroken
    assert not paths.left_over()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_a_run_that_dies_while_it_publishes_is_finished_by_the_next(
    paths: Paths, unbroken: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    replace, count = Path.replace, 0

    def dying(self: Path, target: Path) -> Path:
        nonlocal count
        if target.parent == paths.out.parent:
            if count == renames:
                raise Killed
            count += 1
        return replace(self, target)

    with monkeypatch.context() as context:
        context.setattr(Path, "replace", dying)
        if renames == 3:
            context.setattr(publishing, "sync_folder", lambda _folder: os.kill(os.getpid(), 0))
            context.setattr(publishing.shutil, "rmtree", lambda *_a, **_k: None)
            paths.run()
        else:
            with pytest.raises(Killed):
                paths.run()
    paths.run()
    assert paths.written() == unbroken
    assert not paths.left_over()


_CHILD = """
import os, signal, sys
from pathlib import Path
from loragraft.dataset.curate import filling
from loragraft.dataset.curate.run import curate
from loragraft.dataset.curate.state import State

filling.COMMIT_SECONDS = 0.0
commit, left = State.commit, int(sys.argv[1])

def dying(self):
    global left
    left -= 1
    commit(self)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

State.commit = dying
curate(*map(Path, sys.argv[2:]))
"""


def test_a_process_that_is_killed_goes_on_where_it_was(
    paths: Paths, unbroken: tuple[bytes, ...]
) -> None:
    for commits in (3, 2):
        died = subprocess.run([sys.executable, "-c", _CHILD, str(commits), *map(str, paths)])
        assert died.returncode == -signal.SIGKILL
    notes: list[str] = []
    paths.run(progress=Noting(notes))
    assert any(note.startswith("Going on behind line 2,048") for note in notes)
    assert paths.written() == unbroken


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("harm", ["cut", "gone", "garbled"])
def test_a_state_that_lacks_something_is_begun_anew(
    paths: Paths, unbroken: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    for _ in killed_at(monkeypatch, 4, after=True):
        with pytest.raises(Killed):
            paths.run()
    folder = paths.out.with_name(".clean.jsonl.curate")
    if harm == "cut":
        os.truncate(folder / "kept.jsonl", 10)
    elif harm == "gone":
        (folder / "kept.jsonl").unlink()
    else:
        (folder / "state.sqlite").write_bytes(b"no database at all" * 100)
    paths.run()
    assert paths.written() == unbroken


def test_where_a_report_goes_is_no_folder(paths: Paths) -> None:
    report_path(paths.out).mkdir()
    with pytest.raises(InputError, match="is a folder, and a report goes there"):
        paths.run()
    assert not paths.out.exists()
    assert not paths.left_over()


@pytest.mark.parametrize("what", ["file", "link"])
def test_where_the_state_goes_lies_nothing_else(paths: Paths, tmp_path: Path, what: str) -> None:
    state = paths.out.with_name(".clean.jsonl.curate")
    if what == "file":
        state.write_bytes(b"mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        state.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is no folder"):
        paths.run()
    assert not paths.out.exists()


def test_records_that_are_taken_away_before_they_have_their_name(
    paths: Paths, unbroken: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(folder: Path, out: Path) -> None:
        raise Killed

    with monkeypatch.context() as context:
        context.setattr(run, "publish", dying)
        with pytest.raises(Killed):
            paths.run()
    paths.out.with_name(".clean.jsonl.curate").joinpath("kept.jsonl").unlink()
    with pytest.raises(InputError, match="taken away"):
        paths.run()
    paths.run(replace=True)
    assert paths.written() == unbroken


@pytest.mark.usefixtures("often")
def test_progress_reaches_the_end_and_no_further(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in killed_at(monkeypatch, 4, after=True):
        with pytest.raises(Killed):
            paths.run()
    progress = Noting([])
    paths.run(progress=progress)
    assert progress.done == progress.totals[-1] == paths.raw.stat().st_size


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("changed", ["rules", "raw", "decisions"])
def test_whatever_changed_begins_anew_and_says_so(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    for _ in killed_at(monkeypatch, 4, after=True):
        with pytest.raises(Killed):
            paths.run()
    if changed == "rules":
        write_rules(paths.rules, RULES.replace("min: 20", "min: 21"))
    elif changed == "raw":
        write_rows(paths.raw, 600, first=7)
    else:
        decision = {"id": "r8", "decision": "reject", "content": "0123456789abcdef"}
        paths.out.with_name("clean.review.jsonl").write_text(json.dumps(decision) + "\n")
    notes: list[str] = []
    report = paths.run(progress=Noting(notes)).report
    assert any("starting anew" in note for note in notes)
    assert report.lines == (600 if changed == "raw" else ROWS)
    assert not paths.left_over()


def test_the_same_again_changes_nothing_and_says_so(paths: Paths) -> None:
    assert not paths.run().unchanged
    before, stamp = paths.written(), paths.out.stat().st_mtime_ns
    assert paths.run().unchanged
    assert (paths.written(), paths.out.stat().st_mtime_ns) == (before, stamp)
    page_path(paths.out).unlink()
    assert not paths.run().unchanged
    assert paths.written() == before


def test_a_file_of_somebody_else_is_not_overwritten(paths: Paths) -> None:
    paths.out.write_text("mine\n")
    with pytest.raises(InputError, match="--replace"):
        paths.run()
    assert paths.out.read_text() == "mine\n"
    paths.run(replace=True)
    with paths.out.open("a") as file:
        file.write("{}\n")
    write_rules(paths.rules, RULES.replace("min: 20", "min: 21"))
    with pytest.raises(InputError, match="was changed since"):
        paths.run()
    assert paths.out.read_text().endswith("{}\n")
    paths.run(replace=True)
    assert not paths.out.read_text().endswith("{}\n")


def test_what_is_read_is_never_overwritten(paths: Paths) -> None:
    link = paths.out.with_name("link.jsonl")
    link.symlink_to(paths.raw)
    for out in (paths.raw, link):
        with pytest.raises(InputError, match="would be overwritten"):
            curate(paths.rules, paths.raw, out, replace=True)
    assert len(paths.raw.read_bytes().splitlines()) == ROWS
