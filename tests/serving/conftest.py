"""A served model that answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from llama_cpp.server import app as server_app
from starlette.testclient import TestClient

from loragraft.checkpoint.bundle import open_model
from loragraft.serving.app import Served, Serving, build_app


@pytest.fixture(scope="session")
def _built(talking_bundle: Callable[[str], Path]) -> Iterator[tuple[Served, object, object]]:
    served = build_app(open_model(talking_bundle("qwen3")), Serving(threads=1))
    yield served, server_app._llama_proxy, server_app._server_settings
    served.close()


@pytest.fixture
def qwen(_built: tuple[Served, object, object], monkeypatch: pytest.MonkeyPatch) -> Served:
    """Answers SAYING whatever is asked."""
    # llama-cpp-python's server knows one model and one key a process, those that came last.
    served, model, server_settings = _built
    monkeypatch.setattr(server_app, "_llama_proxy", model)
    monkeypatch.setattr(server_app, "_server_settings", server_settings)
    return served


@pytest.fixture
def client(qwen: Served) -> TestClient:
    """A program on this machine that asks it."""
    return TestClient(qwen.app, base_url="http://localhost")
