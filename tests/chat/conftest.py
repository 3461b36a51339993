"""A small model that answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loragraft.checkpoint.bundle import open_model
from loragraft.engine.llama import LlamaEngine


@pytest.fixture(scope="module")
def engine(talking_bundle: Callable[[str], Path]) -> Iterator[LlamaEngine]:
    """Answers SAYING whatever is asked."""
    engine = LlamaEngine(open_model(talking_bundle("qwen3")), threads=1, literal=True)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def strict_engine(talking_bundle: Callable[[str], Path]) -> Iterator[LlamaEngine]:
    """One whose template refuses a system message."""
    engine = LlamaEngine(open_model(talking_bundle("gemma2")), threads=1, literal=True)
    yield engine
    engine.close()
