"""Fixtures that several rooms share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import sources
from tests.support.pico import build_adapter, build_pico


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests off the network and out of the user's folders."""
    home = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("LORAGRAFT_CACHE", str(home / "loragraft"))
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def smollm2_checkpoint() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face checkpoint."""
    return sources.smollm2_checkpoint()


@pytest.fixture(scope="session")
def llama_cpp_source() -> Path:
    """llama.cpp's source tree at the version of the installed library."""
    return sources.llama_cpp_source()


@pytest.fixture(scope="session")
def example_adapter() -> Path:
    """The trained adapter that the repository ships."""
    return sources.ROOT / "examples" / "smollm2-lora"


@pytest.fixture(scope="session")
def pico(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a pico checkpoint of a name in ``tests/support/pico.py``, once a session."""
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            folder = tmp_path_factory.mktemp("pico") / name
            built[name] = build_pico(name, folder, sources.llama_cpp_source())
        return built[name]

    return build


@pytest.fixture(scope="session")
def pico_adapter(
    pico: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Build an adapter for a pico checkpoint; keywords are PEFT's options."""
    built: dict[str, Path] = {}

    def build(name: str, **options: Any) -> Path:  # noqa: ANN401
        key = json.dumps([name, options], sort_keys=True)
        if key not in built:
            folder = tmp_path_factory.mktemp("adapter") / name
            built[key] = build_adapter(pico(name), folder, **options)
        return built[key]

    return build
