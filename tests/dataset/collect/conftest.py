"""An Apify of our own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loragraft.dataset.collect import store
from tests.support.apify_server import ApifyServer, apify_server


@pytest.fixture
def apify() -> Iterator[ApifyServer]:
    """The server, without runs."""
    with apify_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what only a power cut needs: disks of busy machines are slow to flush."""
    monkeypatch.setattr(store, "SYNCHRONOUS", "OFF")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The file to make."""
    return tmp_path / "raw.jsonl"
