"""Hashes remembered only while a file is the same."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from loragraft.artifact.hash_cache import cached_sha256


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_remembers_and_forgets(tmp_path: Path) -> None:
    file, cache = tmp_path / "file", tmp_path / "deep" / "hashes.json"
    file.write_bytes(b"one")
    assert cached_sha256(file, cache) == digest(file)
    stored = json.loads(cache.read_text())
    stored[str(file.resolve())]["sha256"] = "0" * 64
    cache.write_text(json.dumps(stored))
    assert cached_sha256(file, cache) == "0" * 64, "an unchanged file is not read again"
    file.write_bytes(b"two!")
    assert cached_sha256(file, cache) == digest(file)


def test_same_size_and_other_time_is_another_file(tmp_path: Path) -> None:
    file, cache = tmp_path / "file", tmp_path / "hashes.json"
    file.write_bytes(b"one")
    cached_sha256(file, cache)
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert cached_sha256(file, cache) == digest(file)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}', '{"k": {"identity": []}}'])
def test_a_broken_cache_only_costs_time(tmp_path: Path, content: str) -> None:
    file, cache = tmp_path / "file", tmp_path / "hashes.json"
    file.write_bytes(b"one")
    cache.write_text(content)
    assert cached_sha256(file, cache) == digest(file)


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    assert cached_sha256(file, file / "below" / "hashes.json") == digest(file)


def test_a_full_disk_under_the_cache_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file, cache = tmp_path / "file", tmp_path / "hashes.json"
    file.write_bytes(b"one")
    monkeypatch.setattr(os, "fsync", full)
    assert cached_sha256(file, cache) == digest(file)
    assert not cache.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no list of users without homes")
def test_a_user_without_a_home_has_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that runs under a number which /etc/passwd does not know."""
    import pwd

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "LORAGRAFT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    file = tmp_path / "file"
    file.write_bytes(b"one")
    assert cached_sha256(file) == digest(file)
