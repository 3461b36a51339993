"""What a child process finds out: loading a library may crash, and must not take doctor along.

``python -m loragraft.doctor.child llama`` and ``... kernels`` print one JSON object.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loragraft.artifact.child import child_command, run_child
from loragraft.errors import CheckFailedError

MODULE = "loragraft.doctor.child"
SECONDS = 7.0
"""Loading llama.cpp takes half a second, numba with three compiled kernels one; a disk that has to
read them first, some more."""


class SlowChildError(CheckFailedError):
    """A child was stopped because it took too long: nothing is known."""


def ask_child(what: str, purpose: str, seconds: float = SECONDS) -> dict[str, Any]:
    """Run a child and return what it found.

    Args:
        what: A key of :data:`QUESTIONS`.
        purpose: What it does, as the subject of a sentence.
        seconds: After which it is stopped.

    Raises:
        SlowChildError: If it took too long.
        CheckFailedError: If it failed or crashed, with its last words.
    """
    start = time.monotonic()
    try:
        return run_child(child_command(MODULE, [what]), timeout=seconds, purpose=purpose)
    except CheckFailedError as error:
        if time.monotonic() - start < seconds:
            raise
        raise SlowChildError(str(error)) from None


def look_at_llama() -> dict[str, Any]:
    """Load llama.cpp; return its versions, what it was built with, and the devices it sees."""
    import llama_cpp

    from loragraft.export.quantize.ggml import load_ggml

    info = llama_cpp.llama_print_system_info()
    return {
        "version": str(llama_cpp.__version__),
        "system_info": info.decode("utf-8", "replace"),
        "gpu_offload": bool(llama_cpp.llama_supports_gpu_offload()),
        "ggml": load_ggml().description,
        "devices": _devices(),
    }


def _devices() -> list[dict[str, str]]:
    """Ask ggml which devices it can compute on (ggml-backend.h); nothing where it cannot say."""
    from loragraft.engine.llama_library import library_folder

    folder = library_folder()
    names = ("libggml.so", "libggml.dylib", "ggml.dll")
    path = next((folder / n for n in names if (folder / n).exists()), None) if folder else None
    if path is None:
        return []
    library = ctypes.CDLL(os.fspath(path))
    count = library.ggml_backend_dev_count
    get = library.ggml_backend_dev_get
    name, about = library.ggml_backend_dev_name, library.ggml_backend_dev_description
    count.restype, count.argtypes = ctypes.c_size_t, []
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    for function in (name, about):
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    devices = [get(index) for index in range(count())]
    return [
        {"name": name(d).decode("utf-8", "replace"), "about": about(d).decode("utf-8", "replace")}
        for d in devices
    ]


def look_at_kernels() -> dict[str, Any]:
    """Ask numba what it compiles for and which of our kernels are compiled; check those."""
    import numba

    from loragraft.export.quantize.ggml import load_ggml, type_name
    from loragraft.export.quantize.lanes import host_features
    from loragraft.export.quantize.native import (
        NATIVE_TYPES,
        differing_weights,
        is_compiled,
        load_encoder,
        vector_unit,
    )

    unit = vector_unit()
    types: dict[str, dict[str, Any]] = {}
    caches: set[str] = set()
    ggml = load_ggml()
    for qtype, native in NATIVE_TYPES.items():
        encoder = load_encoder(native)
        folder = getattr(getattr(encoder, "stats", None), "cache_path", None)
        caches |= {str(folder)} if folder else set()
        compiled = is_compiled(encoder)
        found = differing_weights(encoder, qtype, ggml) if compiled and unit else (0, 0)
        types[type_name(qtype)] = {
            "compiled": compiled, "different": found[0], "checked": found[1],
        }  # fmt: skip
    return {
        "numba": str(numba.__version__),
        "unit": unit,
        "types": types,
        "caches": sorted(caches),
        "features": sorted(host_features()),
    }


QUESTIONS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "llama": look_at_llama,
    "kernels": look_at_kernels,
}


def main(arguments: Sequence[str]) -> int:
    """Run the child; JSON goes to the real stdout, everything else to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)  # libraries may print to stdout
    result = QUESTIONS[arguments[0]]()
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        out.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
