"""Where llama.cpp's shared libraries lie: in llama-cpp-python, or where the user says."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = "llama_cpp"
OVERRIDE = "LLAMA_CPP_LIB_PATH"
"""The variable by which llama-cpp-python's own loader is sent to another folder."""

TILES = "AMX_INT8 = 1"
"""What llama.cpp's system info says where it multiplies by AMX tiles."""
WITHOUT_TILES = "-U__AMX_INT8__"
"""The compilers' flag for a build that does not: the name by which ggml's sources know of AMX."""


def library_folder() -> Path | None:
    """Return the folder of the libraries, found without importing llama_cpp; None if not there."""
    override = os.environ.get(OVERRIDE)
    if override:
        return Path(override)
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "lib"


def leave_tiles_alone(llama: Any, parameters: Any) -> None:  # noqa: ANN401 - ctypes of llama.cpp
    """Have a model loaded in such a way that llama.cpp cannot crash by its AMX code.

    Its description of the tiles is a variable that GCC (12 at least) takes for unused and leaves
    out; the processor refuses what stands there instead, and the process ends with a segmentation
    fault (github.com/ggml-org/llama.cpp/issues/20824 and pull/26954). Tiles are only used for
    weights that are kept in extra buffers. Without these, weights are not repacked either, which
    makes reading slower: ``loragraft doctor`` says so, and how to build llama.cpp without tiles.

    Args:
        llama: The module ``llama_cpp``.
        parameters: Of the model; changed where llama.cpp was built with tiles.
    """
    if TILES in llama.llama_print_system_info().decode("utf-8", "replace"):
        parameters.use_extra_bufts = False
