"""What tests of training ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def base(talking: Callable[[str], Path]) -> Path:
    """A model of two layers."""
    return talking("llama")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Models this small are slower on several threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
