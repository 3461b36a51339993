"""Small files appear whole or not at all, also where the disk is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from loragraft.artifact.files import write_atomically
from loragraft.errors import OutOfSpaceError


def _fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def test_the_new_content_takes_the_olds_place(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_and_the_old_content_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "list.txt"
    write_atomically(path, b"old")
    _fill_the_disk(monkeypatch)
    with pytest.raises(OutOfSpaceError, match=r"filled up while .*list\.txt was written.* missing"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
