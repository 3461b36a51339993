"""An Apify of our own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragraft.dataset.collect import store
from tests.support.apify_server import ApifyServer, apify_server

collect_ignore_glob = (
    ["test_apify*.py", "test_cost.py", "test_key.py", "test_kill.py"]
    if sys.version_info < (3, 11)
    else []
)
"""apify-client 3 is not to be had for Python 3.10; the command says so there."""


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
