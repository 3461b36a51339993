"""Servers and archives to fetch from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adapter.fetch.server import FileServer, serving


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A file server on this machine."""
    with serving() as running:
        yield running
