"""A folder appears whole, or not at all."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.exchange import exchange
from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.publish import Staging
from loragraft.errors import (
    BundleError,
    InputError,
    LockedError,
    OutOfSpaceError,
    UnavailableError,
)

FILES = ("a.gguf", "README.md", "Modelfile")


def _fill(folder: Path, version: str) -> None:
    for name in FILES:
        (folder / name).write_text(version)
    write_checksums(folder, {name: sha256_file(folder / name) for name in FILES})


def _publish(outputs: Path, version: str, *, replace: bool = False, atomic: bool = True) -> None:
    with Staging(outputs, "x", replace=replace, atomic_exchange=atomic) as staging:
        _fill(staging.folder, version)
        staging.publish()


def _version(outputs: Path) -> str:
    """The one version that all files of the published folder show."""
    assert {path.name for path in (outputs / "x").iterdir()} == {*FILES, "checksums.txt"}
    versions = {(outputs / "x" / name).read_text() for name in FILES}
    assert len(versions) == 1
    return versions.pop()


def _leftovers(outputs: Path) -> set[str]:
    return {path.name for path in outputs.iterdir()} - {"x", ".x.lock"}


@pytest.mark.parametrize("atomic", [True, False])
def test_publish_then_replace(tmp_path: Path, atomic: bool) -> None:
    outputs = tmp_path / "new" / "outputs"
    _publish(outputs, "1", atomic=atomic)
    assert _version(outputs) == "1"
    _publish(outputs, "2", replace=True, atomic=atomic)
    assert _version(outputs) == "2"
    assert _leftovers(outputs) == set()


def test_nothing_is_visible_before(tmp_path: Path) -> None:
    with Staging(tmp_path, "x") as staging:
        _fill(staging.folder, "1")
        assert not staging.target.exists()
        assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    assert not staging.target.exists()
    assert _leftovers(tmp_path) == set()


def test_a_taken_name_is_refused_and_left_alone(tmp_path: Path) -> None:
    _publish(tmp_path, "1")
    with pytest.raises(BundleError, match="--replace"):
        _publish(tmp_path, "2")
    assert _version(tmp_path) == "1"
    assert _leftovers(tmp_path) == set()


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="not written by"):
        _publish(tmp_path, "2", replace=True)
    assert (tmp_path / "x" / "thesis.tex").exists()


def test_an_empty_folder_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    _publish(tmp_path, "1", replace=True)
    assert _version(tmp_path) == "1"


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_or_link_of_that_name_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "x").write_text("")
    else:
        (tmp_path / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="not a folder"):
        _publish(tmp_path, "2", replace=True)


def test_a_name_taken_meanwhile_is_refused_at_the_end(tmp_path: Path) -> None:
    with Staging(tmp_path, "x") as staging:
        _fill(staging.folder, "1")
        (tmp_path / "x").mkdir()
        with pytest.raises(BundleError, match="--replace"):
            staging.publish()


def test_outputs_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Choose another output folder"):
        _publish(tmp_path / "file", "1")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".x"])
def test_unfit_names_touch_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        Staging(tmp_path / "outputs", name)
    assert list(tmp_path.iterdir()) == []


def test_unfinished_work_waits_only_with_its_journal(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Staging(tmp_path, "x") as staging:  # noqa: PT012
        staging.journal_path.write_text("key")
        (staging.folder / "part").write_text("half")
        raise KeyboardInterrupt
    with Staging(tmp_path, "x") as staging:
        assert (staging.folder / "part").read_text() == "half"
        staging.discard()
        assert not (staging.folder / "part").exists()
        assert not staging.journal_path.exists()
        (staging.folder / "part").write_text("half")
    with Staging(tmp_path, "x") as staging:
        assert list(staging.folder.iterdir()) == []


def test_a_journal_without_work_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / ".x.journal").write_text("key")
    with Staging(tmp_path, "x") as staging:
        assert not staging.journal_path.exists()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with Staging(tmp_path, "x") as first:
        with pytest.raises(LockedError), Staging(tmp_path, "x"):
            pass
        with Staging(tmp_path, "y") as other:
            assert other.folder != first.folder
        _fill(first.folder, "1")
        first.publish()
    assert _version(tmp_path) == "1"


def _recover(outputs: Path) -> None:
    """What the next run does first, whatever becomes of it."""
    with Staging(outputs, "x", replace=True):
        pass


def test_the_next_run_puts_the_old_one_back(tmp_path: Path) -> None:
    _publish(tmp_path, "1")
    (tmp_path / "x").rename(tmp_path / ".x.old")
    _recover(tmp_path)
    assert _version(tmp_path) == "1"


def test_the_next_run_deletes_what_was_replaced(tmp_path: Path) -> None:
    _publish(tmp_path, "1")
    (tmp_path / "x").rename(tmp_path / ".x.old")
    _publish(tmp_path / "other", "2")
    (tmp_path / "other" / "x").rename(tmp_path / "x")
    _recover(tmp_path)
    assert _version(tmp_path) == "2"
    assert not (tmp_path / ".x.old").exists()


def _deny_renames(monkeypatch: pytest.MonkeyPatch, of: str, code: int) -> None:
    """Let the system refuse to rename a folder, as Windows does while a program reads in it."""
    real = Path.rename

    def rename(source: Path, target: Path) -> Path:
        if source.name == of:
            raise OSError(code, os.strerror(code))
        return real(source, target)

    monkeypatch.setattr(Path, "rename", rename)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EBUSY])
def test_a_folder_in_use_is_said_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    _publish(tmp_path, "1")
    _deny_renames(monkeypatch, "x", code)
    with pytest.raises(UnavailableError, match=r"cannot be replaced.*Close the programs"):
        _publish(tmp_path, "2", replace=True, atomic=False)
    assert _version(tmp_path) == "1"


def test_the_old_folder_returns_where_the_new_one_cannot_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(tmp_path, "1")
    _deny_renames(monkeypatch, ".x.staging", errno.EACCES)
    with pytest.raises(UnavailableError, match="cannot be replaced"):
        _publish(tmp_path, "2", replace=True, atomic=False)
    assert _version(tmp_path) == "1"
    assert _leftovers(tmp_path) == set()


def test_a_disk_that_is_full_at_the_end_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Staging(tmp_path, "x") as staging:
        _fill(staging.folder, "1")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutOfSpaceError, match="filled up"):
            staging.publish()
    assert not (tmp_path / "x").exists()


def test_exchange_swaps_or_says_that_it_cannot(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    swapped = exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / ("b" if swapped else "a")).exists()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "nowhere")


# Publishes version after version until it is killed, telling each before and after.
_PUBLISH_FOREVER = """
import sys
from pathlib import Path
from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.publish import Staging
outputs, first, atomic = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "atomic"
for version in range(first, first + 100_000):
    print("begin", version, flush=True)
    with Staging(outputs, "x", replace=True, atomic_exchange=atomic) as staging:
        for name in ("a.gguf", "README.md", "Modelfile"):
            (staging.folder / name).write_text(str(version))
        write_checksums(staging.folder, {})
        staging.publish()
    print("done", version, flush=True)
"""


def _kill_at_random(outputs: Path, first: int, mode: str, seconds: float) -> tuple[int, int]:
    """Return the last version said to be done, and the last begun."""
    child = subprocess.Popen(
        [sys.executable, "-c", _PUBLISH_FOREVER, str(outputs), str(first), mode],
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        lines = [child.stdout.readline(), child.stdout.readline()]
        time.sleep(seconds)
        child.kill()
        lines += child.stdout.read().splitlines()
    said = [line.split() for line in lines if line]
    done = [int(words[1]) for words in said if words[0] == "done" and len(words) == 2]
    return max(done), max(int(words[1]) for words in said if len(words) == 2)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["atomic", "two renames"])
def test_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path: Path, mode: str) -> None:
    chance = random.Random(20251101)
    _publish(tmp_path, "0")
    version = 1
    for _ in range(20):
        done, begun = _kill_at_random(tmp_path, version, mode, chance.uniform(0, 0.05))
        if mode == "atomic" and sys.platform == "linux":
            assert int(_version(tmp_path)) in (done, begun)  # even before recovery
        _recover(tmp_path)
        assert int(_version(tmp_path)) in (done, begun)
        version = begun + 1
    _publish(tmp_path, "last", replace=True)
    assert _version(tmp_path) == "last"
    assert _leftovers(tmp_path) == set()
