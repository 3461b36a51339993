"""Two processes exclude each other."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from loragraft.artifact.lock import hold_lock
from loragraft.errors import InputError, LockedError, UnavailableError

_HOLD = """
import sys
from pathlib import Path
from loragraft.artifact.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_named_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / ".x.lock"
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with (
            pytest.raises(LockedError, match=rf"process {child.pid} on .*, since "),
            hold_lock(path),
        ):
            pass
        child.kill()
        child.wait()
        with hold_lock(path):
            pass


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    path = tmp_path / ".x.lock"
    with hold_lock(path), pytest.raises(LockedError), hold_lock(path):
        pass
    with hold_lock(path):
        assert path.with_name(".x.lock.owner").exists()
    assert not path.with_name(".x.lock.owner").exists()


def test_a_garbled_owner_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / ".x.lock"
    with hold_lock(path):
        path.with_name(".x.lock.owner").write_text("[]")
        with pytest.raises(LockedError, match="another process"), hold_lock(path):
            pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSYS, "no locks here"),
        OSError(errno.ENOLCK, "no locks here"),
        OSError(errno.EOPNOTSUPP, "no locks here"),
        NotImplementedError("what older versions of filelock make of the first"),
    ],
)
def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Never with a lock in name only: a crash would leave it held for good."""

    def refuse(handle: int, operation: int) -> None:
        raise error

    path = tmp_path / ".x.lock"
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        with pytest.raises(UnavailableError, match=r"has no locks.*a local disk"), hold_lock(path):
            pass
    with hold_lock(path):
        pass


def test_a_lock_that_nobody_can_write_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.symlink_to(path)  # even root cannot open it
    with (
        pytest.raises(InputError, match=r"\.lock cannot be written: .*choose another one"),
        hold_lock(path),
    ):
        pass


def test_a_folder_in_the_lock_s_place_is_named(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(InputError, match="is a folder"), hold_lock(tmp_path / ".lock"):
        pass
