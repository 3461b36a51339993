"""A machine that is too small, for refusals that name what is missing; the reference converter."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from loragraft.artifact import space
from tests.support.converter import Converter


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with 4 KiB left."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))


@pytest.fixture
def full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 1 MiB of memory left."""
    monkeypatch.setattr(space, "available_memory", lambda: 1 << 20)


@pytest.fixture(scope="session")
def converter(llama_cpp_source: Path) -> Iterator[Converter]:
    """llama.cpp's own converter script, ready to run."""
    converter = Converter(llama_cpp_source)
    yield converter
    converter.close()
