"""What killed runs leave is found; what is the user's is not."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from loragraft.artifact.publish import Staging
from loragraft.doctor.leftovers import (
    Leftover,
    Search,
    find_temporary,
    find_work,
    work_paths,
)
from loragraft.doctor.mounts import Mount, mounted_inside, mounts
from tests.doctor.support import leave_unfinished, make_old, work


def find(folder: Path) -> list[Leftover]:
    return find_work([folder], mounts(), Search())


def test_unfinished_work_is_found_below_a_workspace(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs" / "exports"
    leave_unfinished(outputs)
    (found,) = find(tmp_path)
    assert [path.name for path in found.paths] == [".x.journal", ".x.staging"]
    assert found.size.bytes >= 100_000
    assert "go on with it" in found.about
    assert not found.kept
    assert not found.busy


def test_without_a_journal_it_is_rubbish(tmp_path: Path) -> None:
    leave_unfinished(tmp_path, journal=False)
    (found,) = find(tmp_path)
    assert [path.name for path in found.paths] == [".x.staging"]
    assert "of no use" in found.about


def test_a_living_run_is_named(tmp_path: Path) -> None:
    with work(tmp_path) as pid:
        (found,) = find(tmp_path)
        assert found.busy == f"process {pid} is working on it"


def test_a_run_on_another_machine_is_named(tmp_path: Path) -> None:
    leave_unfinished(tmp_path)
    owner = '{"pid": 1, "host": "elsewhere", "since": "today"}'
    (tmp_path / ".x.lock.owner").write_text(owner)
    assert socket.gethostname() != "elsewhere"
    (found,) = find(tmp_path)
    assert "on elsewhere" in found.busy


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"pid": "x"}', '{"pid": 1e400, "host": 1}'])
def test_a_garbled_note_of_the_owner_holds_nothing(tmp_path: Path, note: str) -> None:
    leave_unfinished(tmp_path)
    (tmp_path / ".x.lock.owner").write_text(note)
    (found,) = find(tmp_path)
    assert not found.busy


def test_the_only_copy_stays(tmp_path: Path) -> None:
    """After a crash between the two renames of a replacement, the old folder is all there is."""
    with Staging(tmp_path, "x") as staging:
        (staging.folder / "model").write_text("precious")
        staging.publish()
    (tmp_path / "x").rename(tmp_path / ".x.old")
    (found,) = find(tmp_path)
    assert "only copy of x" in found.kept
    (tmp_path / "x").mkdir()
    (found,) = find(tmp_path)
    assert not found.kept


@pytest.mark.parametrize("name", [".notes.old", ".x.staging", ".project.journal", ".a.merged"])
def test_folders_of_others_are_not_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "diary").write_text("mine")
    assert find(tmp_path) == []


def test_a_lock_that_is_a_link_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / ".notes.old").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / ".notes.lock").symlink_to(tmp_path / "file")
    assert find(tmp_path) == []


def test_links_are_kept_and_not_followed(tmp_path: Path) -> None:
    elsewhere, outputs = tmp_path / "elsewhere", tmp_path / "outputs"
    leave_unfinished(elsewhere, "y")
    leave_unfinished(outputs, "x", journal=False)
    (outputs / "link").symlink_to(elsewhere)
    (outputs / ".x.merged").symlink_to(elsewhere)
    (found,) = find(outputs)
    assert ".x.merged is a link" in found.kept


def test_what_is_mounted_inside_is_kept(tmp_path: Path) -> None:
    leave_unfinished(tmp_path, journal=False)
    inside = tmp_path / ".x.staging" / "disk"
    inside.mkdir()
    (found,) = find_work([tmp_path], [Mount(inside, "ext4")], Search())
    assert str(inside) in found.kept
    assert mounted_inside(tmp_path, [Mount(Path("/"), "ext4")]) is None


def test_names_with_line_breaks_are_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / ".a\nb.staging").mkdir()
    (tmp_path / ".a\nb.lock").touch()
    assert find(tmp_path) == []


def test_drafts_are_found_when_they_are_old_and_their_process_is_gone(tmp_path: Path) -> None:
    dead, alive, fresh = ".a.gguf.999999999.tmp", f".a.gguf.{os.getpid()}.tmp", ".b.gguf.99999.tmp"
    for name in (dead, alive, fresh, ".mine.txt.999999999.tmp", "a.gguf.999999999.tmp"):
        (tmp_path / name).write_bytes(b"GGUF")
        if name != fresh:
            make_old(tmp_path / name)
    assert [found.path.name for found in find(tmp_path)] == [dead]


def test_a_huge_tree_is_looked_through_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        (tmp_path / f"{number}").mkdir()
    monkeypatch.setattr("loragraft.doctor.leftovers.MOST_ENTRIES", 10)
    search = Search()
    assert find_work([tmp_path], (), search) == []
    assert search.cut


def test_unreadable_folders_are_passed_by(tmp_path: Path) -> None:
    leave_unfinished(tmp_path / "b")
    closed = tmp_path / "a"
    closed.mkdir(mode=0)
    try:
        assert len(find(tmp_path)) == 1
    finally:
        closed.chmod(0o700)


def test_temporary_folders_of_killed_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("loragraft-pickle-abc12345", "loragraft-pickle-new00000", "other-abc12345"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(bytes(50_000))
    (tmp_path / "loragraft-tests-link0000").symlink_to(tmp_path / "other-abc12345")
    for name in ("loragraft-pickle-abc12345", "other-abc12345", "loragraft-tests-link0000"):
        make_old(tmp_path / name)
    assert [found.path.name for found in find_temporary()] == ["loragraft-pickle-abc12345"]


def test_every_name_beside_an_output_is_known(tmp_path: Path) -> None:
    """The names stand in several rooms; here they are held together."""
    from contextlib import ExitStack

    from loragraft.export.engine import hidden_folder

    staging = Staging(tmp_path, "x")
    with ExitStack() as stack:
        merged = hidden_folder(staging, "merged", stack)
        scratch = hidden_folder(staging, "scratch", stack)
        for path in (staging.folder, staging.journal_path, staging._old, merged, scratch):
            path.mkdir()
        assert set(work_paths(tmp_path, "x")) == set(tmp_path.iterdir())
