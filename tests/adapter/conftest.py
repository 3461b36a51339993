"""Fixtures that write small adapters and bases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.adapter.builders import Arrays, write_adapter, write_base


@pytest.fixture
def make_adapter(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes an adapter folder; see :func:`write_adapter`."""

    def make(arrays: Arrays | None = None, name: str = "adapter", **config: object) -> Path:
        return write_adapter(tmp_path / name, arrays, **config)

    return make


@pytest.fixture
def make_base(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a base folder; see :func:`write_base`."""

    def make(name: str = "base", **options: Any) -> Path:  # noqa: ANN401
        return write_base(tmp_path / name, **options)

    return make
