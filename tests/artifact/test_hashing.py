"""HashingFile and sha256_file."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.artifact.hashing import HashingFile, sha256_file
from loragraft.errors import OutOfSpaceError


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_hashes_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    with HashingFile(path) as file:
        assert file.write(b"head") == 4
        assert file.write(array) == 48
        assert file.position == 52
        digest = file.hexdigest()
        file.sync()
    assert path.read_bytes() == b"head" + array.tobytes()
    assert digest == _digest(path.read_bytes()) == sha256_file(path)


def test_file_hash_reports_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * 3_000_000)
    seen: list[int] = []
    sha256_file(path, seen.append)
    assert sum(seen) == 3_000_000
    assert len(seen) > 1


def _write_with_marks(path: Path, parts: list[bytes]) -> list[tuple[int, str]]:
    marks = []
    with HashingFile(path) as file:
        for part in parts:
            file.write(part)
            marks.append(file.mark())
    return marks


@given(
    parts=st.lists(st.binary(max_size=40), max_size=6),
    cut=st.integers(min_value=0, max_value=240),
    tail=st.binary(max_size=20),
)
def test_resume_ends_with_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], cut: int, tail: bytes
) -> None:
    path = tmp_path_factory.mktemp("resume") / "f"
    marks = _write_with_marks(path, parts)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] + tail)
    with HashingFile.resume(path, marks) as file:
        assert file.position in {0, *(stop for stop, _ in marks)}
        assert file.position <= cut + len(tail)
        file.write(whole[file.position :])
        assert file.hexdigest() == _digest(whole)
    assert path.read_bytes() == whole


def test_resume_stops_at_the_last_good_mark(tmp_path: Path) -> None:
    path = tmp_path / "f"
    marks = _write_with_marks(path, [b"aaaa", b"bbbb", b"cccc"])
    data = bytearray(path.read_bytes())
    data[5] = 0  # a page the power cut swallowed
    path.write_bytes(data)
    with HashingFile.resume(path, marks) as file:
        assert file.position == 4
    assert path.read_bytes() == b"aaaa"


def test_resume_without_a_file_starts_over(tmp_path: Path) -> None:
    with HashingFile.resume(tmp_path / "f", [(4, _digest(b"aaaa"))]) as file:
        assert file.position == 0
        file.write(b"x")
    assert (tmp_path / "f").read_bytes() == b"x"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_names_the_missing_amount() -> None:
    with (
        HashingFile(Path("/dev/full"), expected=1 << 60) as file,
        pytest.raises(OutOfSpaceError, match=r"filled up .* are missing"),
    ):
        file.write(b"x" * 10)


def test_a_disk_that_is_full_only_when_flushed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with HashingFile(tmp_path / "f", expected=1 << 60) as file:
        file.write(b"x")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutOfSpaceError, match=r"filled up .* are missing"):
            file.sync()


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from loragraft.artifact.hashing import HashingFile
from loragraft.errors import OutOfSpaceError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with HashingFile(Path(sys.argv[1]), expected=5000) as file:
    try:
        for _ in range(50):
            file.write(b"x" * 100)
    except OutOfSpaceError as error:
        print(file.position, file.hexdigest(), error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs file size limits")
def test_limit_in_the_middle_keeps_position_and_hash_right(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path / "f")],
        capture_output=True,
        text=True,
        check=True,
    )
    position, digest, message = run.stdout.split(maxsplit=2)
    assert (position, digest) == ("1000", _digest(b"x" * 1000))
    assert "ulimit -f" in message
    assert "3.9 KiB were still to come" in message
