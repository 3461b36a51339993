"""ggml, and our encoders as the exporter would run them."""

from __future__ import annotations

import pytest

from loragraft.export.quantize.ggml import Ggml, load_ggml
from loragraft.export.quantize.kernels import Kernels, choose_kernels
from loragraft.export.quantize.native import NATIVE_TYPES


@pytest.fixture(scope="session")
def ggml() -> Ggml:
    """The library inside llama-cpp-python."""
    return load_ggml()


@pytest.fixture(scope="session")
def native() -> Kernels:
    """Kernels that are ours wherever this machine can run them."""
    return choose_kernels(dict.fromkeys(NATIVE_TYPES, 0), prefer="numba")
