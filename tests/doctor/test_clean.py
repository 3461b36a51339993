"""Only what was listed goes, and only if nobody works on it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loragraft.artifact.publish import Staging
from loragraft.doctor.clean import Plan, find_leftovers, remove, to_json
from loragraft.doctor.leftovers import Search, find_work
from tests.doctor.support import everything, leave_unfinished, make_old, work


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that nothing outside the test is found."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LORAGRAFT_CACHE", str(folder))
    monkeypatch.setenv("LORAGRAFT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return folder


def clean(folder: Path) -> tuple[Plan, list[str]]:
    plan = find_leftovers([folder])
    return plan, [remove(leftover).problem for leftover in plan.removable]


def publish(outputs: Path, name: str = "x") -> None:
    with Staging(outputs, name, replace=True) as staging:
        (staging.folder / "checksums.txt").write_text("")
        (staging.folder / "model").write_text("mine")
        staging.publish()


def test_unfinished_work_goes_and_the_rest_stays(tmp_path: Path, cache: Path) -> None:
    outputs = tmp_path / "outputs"
    publish(outputs, "kept")
    leave_unfinished(outputs)
    (outputs / "notes.txt").write_text("mine")
    plan, problems = clean(outputs)
    assert plan.bytes >= 100_000
    assert problems == [""]
    assert everything(outputs) == {
        "notes.txt", "kept", "kept/checksums.txt", "kept/model", ".kept.lock", ".x.lock",
    }  # fmt: skip
    assert find_leftovers([outputs]).leftovers == ()
    publish(outputs)  # and the next run finds nothing in its way


def test_all_of_one_run_goes(tmp_path: Path, cache: Path) -> None:
    publish(tmp_path / "o")
    for name in (".x.merged", ".x.scratch", ".x.old", ".x.staging"):
        (tmp_path / "o" / name).mkdir()
        (tmp_path / "o" / name / "part").write_bytes(bytes(10))
    (tmp_path / "o" / ".x.float.gguf").write_bytes(bytes(10))
    assert clean(tmp_path / "o")[1] == [""]
    assert everything(tmp_path / "o") == {"x", "x/checksums.txt", "x/model", ".x.lock"}


def test_a_living_run_keeps_its_work(tmp_path: Path, cache: Path) -> None:
    outputs = tmp_path / "outputs"
    with work(outputs) as pid:
        before = everything(outputs)
        plan, (problem,) = clean(outputs)
        assert plan.bytes == 0
        assert f"process {pid}" in problem
        assert everything(outputs) == before


def test_a_dead_run_on_another_machine_does_not_hold_it_for_ever(
    tmp_path: Path, cache: Path
) -> None:
    leave_unfinished(tmp_path / "o")
    (tmp_path / "o" / ".x.lock.owner").write_text('{"pid": 1, "host": "elsewhere"}')
    assert clean(tmp_path / "o")[1] == [""]
    assert everything(tmp_path / "o") == {".x.lock"}


def test_what_changed_since_it_was_listed_stays(tmp_path: Path, cache: Path) -> None:
    """The target vanishes while a person is asked: now the old folder is the only copy."""
    publish(tmp_path / "o")
    (tmp_path / "o" / ".x.old").mkdir()
    (tmp_path / "o" / ".x.old" / "model").write_text("precious")
    plan = find_leftovers([tmp_path / "o"])
    (tmp_path / "o" / "x").rename(tmp_path / "elsewhere")
    removal = remove(plan.leftovers[0])
    assert "only copy" in removal.problem
    assert removal.freed == 0
    assert (tmp_path / "o" / ".x.old" / "model").read_text() == "precious"


def test_what_is_gone_already_is_said(tmp_path: Path, cache: Path) -> None:
    leave_unfinished(tmp_path / "o")
    plan = find_leftovers([tmp_path / "o"])
    assert [remove(item).problem for item in plan.leftovers] == [""]
    assert [remove(item).problem for item in plan.leftovers] == ["it is gone already"]


def test_links_inside_are_removed_and_not_followed(tmp_path: Path, cache: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary").write_text("mine")
    leave_unfinished(tmp_path / "o", journal=False)
    (tmp_path / "o" / ".x.staging" / "link").symlink_to(outside)
    assert clean(tmp_path / "o")[1] == [""]
    assert (outside / "diary").read_text() == "mine"


def test_a_hard_linked_file_frees_nothing(tmp_path: Path, cache: Path) -> None:
    leave_unfinished(tmp_path / "o", journal=False)
    os.link(tmp_path / "o" / ".x.staging" / "weights", tmp_path / "kept")
    plan, _ = clean(tmp_path / "o")
    assert plan.bytes == 0
    assert (tmp_path / "kept").stat().st_size == 100_000


def test_what_may_not_be_removed_is_said_and_the_rest_goes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unfinished(tmp_path / "o", "a", journal=False)
    leave_unfinished(tmp_path / "o", "b", journal=False)
    real = shutil.rmtree

    def refuse(path: Path) -> None:
        if path.name == ".a.staging":
            raise PermissionError(errno.EACCES, "Permission denied", str(path / "weights"))
        real(path)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    plan = find_leftovers([tmp_path / "o"])
    first, second = (remove(leftover) for leftover in plan.removable)
    assert first.problem == f"{tmp_path / 'o' / '.a.staging' / 'weights'}: Permission denied"
    assert first.freed == 0
    assert not second.problem
    assert not (tmp_path / "o" / ".b.staging").exists()


_REMOVE = """
import os, shutil, signal, sys
from pathlib import Path
from loragraft.doctor.clean import find_leftovers, remove
plan = find_leftovers([Path(sys.argv[1])])
remover, count = os.unlink, [int(sys.argv[2])]
def dying(*arguments, **named):
    count[0] -= 1
    if count[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return remover(*arguments, **named)
os.unlink = dying
for leftover in plan.removable:
    remove(leftover)
"""


@pytest.mark.parametrize("files", [0, 1, 2, 3, 5])
def test_killed_in_the_middle_it_leaves_only_what_goes_next_time(
    tmp_path: Path, cache: Path, files: int
) -> None:
    outputs = tmp_path / "o"
    publish(outputs)
    leave_unfinished(outputs)
    (outputs / ".x.old").mkdir()
    for number in range(3):
        (outputs / ".x.staging" / f"{number}").write_bytes(bytes(10))
        (outputs / ".x.old" / f"{number}").write_bytes(bytes(10))
    command = [sys.executable, "-c", _REMOVE, str(outputs), str(files)]
    done = subprocess.run(command, check=False, env={**os.environ})
    assert done.returncode == -signal.SIGKILL
    if not (outputs / ".x.journal").exists():
        # What is left is rubbish for the next export too: it starts afresh.
        with Staging(outputs, "x", replace=True) as staging:
            assert list(staging.folder.iterdir()) == []
    clean(outputs)
    assert everything(outputs) == {"x", "x/checksums.txt", "x/model", ".x.lock"}


def test_report_as_json(tmp_path: Path, cache: Path) -> None:
    leave_unfinished(tmp_path / "o")
    plan = find_leftovers([tmp_path / "o"])
    removals = [remove(leftover) for leftover in plan.removable]
    report = to_json(plan, removals)
    assert report["freed"] == plan.bytes == report["bytes"]
    assert [entry["removed"] for entry in report["found"]] == [True]


def test_drafts_go(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "o").mkdir()
    draft = tmp_path / "o" / ".checksums.txt.999999999.tmp"
    draft.write_text("half")
    make_old(draft)
    assert len(find_work([tmp_path / "o"], (), Search())) == 1
    assert clean(tmp_path / "o")[1] == [""]
    assert everything(tmp_path / "o") == set()
