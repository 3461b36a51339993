"""Disk and memory: asked before, explained when they run out."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from loragraft.artifact.space import (
    available_memory,
    explain_full_disk,
    format_bytes,
    free_disk,
    require_disk,
    require_memory,
)
from loragraft.errors import OutOfMemoryError, OutOfSpaceError


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (3 << 40, "3.0 TiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_bytes_are_spelled_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text


def test_enough_disk_passes_even_where_the_folder_is_not_there_yet(tmp_path: Path) -> None:
    require_disk(tmp_path / "a" / "b", 1)


def test_too_little_disk_is_refused_with_the_missing_amount(tmp_path: Path) -> None:
    needed = free_disk(tmp_path) + (1 << 50)
    with pytest.raises(OutOfSpaceError, match=r"The bundle needs .* are missing") as caught:
        require_disk(tmp_path, needed, "The bundle")
    assert caught.value.exit_code == 3


def test_enough_memory_passes() -> None:
    assert available_memory() > 0
    require_memory(1, "This", "Nothing else is needed.")


def test_too_little_memory_is_refused_with_the_alternative() -> None:
    with pytest.raises(OutOfMemoryError, match=r"peft needs about .* Use --engine stream\."):
        require_memory(1 << 60, "--engine peft", "Use --engine stream.")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_translated(tmp_path: Path, code: int) -> None:
    with (
        pytest.raises(OutOfSpaceError, match=r"filled up .* At least 4\.0 KiB are missing"),
        explain_full_disk(tmp_path / "f", 4096),
    ):
        raise OSError(code, "full")


def test_full_disk_without_a_known_rest_says_what_is_left(tmp_path: Path) -> None:
    with pytest.raises(OutOfSpaceError, match=r"It has .* left"), explain_full_disk(tmp_path / "f"):
        raise OSError(errno.ENOSPC, "full")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), explain_full_disk(tmp_path / "f"):
        raise PermissionError(errno.EACCES, "no")
