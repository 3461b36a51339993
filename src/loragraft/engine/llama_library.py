"""Where llama.cpp's shared libraries lie: in llama-cpp-python, or where the user says."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "llama_cpp"
OVERRIDE = "LLAMA_CPP_LIB_PATH"
"""The variable by which llama-cpp-python's own loader is sent to another folder."""


def library_folder() -> Path | None:
    """Return the folder of the libraries, found without importing llama_cpp; None if not there."""
    override = os.environ.get(OVERRIDE)
    if override:
        return Path(override)
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "lib"
