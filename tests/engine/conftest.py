"""A machine that is too small."""

from __future__ import annotations

import pytest

from loragraft.artifact import space


@pytest.fixture
def full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 1 MiB of memory left."""
    monkeypatch.setattr(space, "available_memory", lambda: 1 << 20)
