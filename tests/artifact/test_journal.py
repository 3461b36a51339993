"""The journal survives what a kill leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.artifact.journal import Journal
from loragraft.errors import OutOfSpaceError


def _write(path: Path, count: int, key: str = "k") -> None:
    with Journal(path, key) as journal:
        for number in range(len(journal.entries), count):
            journal.append({"tensor": f"blk.{number}\n\u2028", "stop": number})


def test_entries_come_back(tmp_path: Path) -> None:
    _write(tmp_path / "j", 3)
    with Journal(tmp_path / "j", "k") as journal:
        assert [entry["stop"] for entry in journal.entries] == [0, 1, 2]


def test_another_key_starts_over(tmp_path: Path) -> None:
    _write(tmp_path / "j", 3)
    with Journal(tmp_path / "j", "other") as journal:
        assert journal.entries == []
        journal.append({"a": 1})
    with Journal(tmp_path / "j", "other") as journal:
        assert journal.entries == [{"a": 1}]


@given(cut=st.integers(min_value=0, max_value=400), tail=st.binary(max_size=8))
def test_any_cut_leaves_a_true_beginning(
    tmp_path_factory: pytest.TempPathFactory, cut: int, tail: bytes
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    _write(path, 6)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] + (tail.replace(b"\n", b"") if cut < len(whole) else b""))
    with Journal(path, "k") as journal:
        stops = [entry["stop"] for entry in journal.entries]
        assert stops == list(range(len(stops)))
    _write(path, 6)
    assert path.read_bytes() == whole


def test_everything_behind_a_garbled_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "j"
    _write(path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"\x00" * (len(lines[2]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    with Journal(path, "k") as journal:
        assert [entry["stop"] for entry in journal.entries] == [0]


@pytest.mark.parametrize("line", [b"[]\n", b"3\n", b"\xff\n", b'{"journal": 1}\n'])
def test_a_file_that_is_no_journal_is_begun_anew(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "j").write_bytes(line)
    with Journal(tmp_path / "j", "k") as journal:
        assert journal.entries == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", "k") as journal:
        # Not opened as the journal itself: reading /dev/full never ends.
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, journal._file.fileno())
        os.close(full)
        with pytest.raises(OutOfSpaceError):
            journal.append({"stop": 1})
        assert journal.entries == []
