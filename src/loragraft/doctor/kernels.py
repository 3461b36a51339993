"""Our own quantization kernels: whether they can run here, and whether they are compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loragraft.doctor.child import SlowChildError, ask_child
from loragraft.doctor.rows import Row, Surroundings, fine, note, shown
from loragraft.errors import CheckFailedError

EXPECTED = "numba's kernels, which quantize several times as fast as ggml's"
WITHOUT = "Everything works without: ggml's own kernels take over, and exports take longer."


def check_kernels(surroundings: Surroundings) -> list[Row]:
    """Ask numba in a child process."""
    try:
        found = ask_child("kernels", "Loading numba's kernels")
    except SlowChildError as error:
        return [note("kernels.numba", shown(str(error)), EXPECTED, f"{WITHOUT} Run doctor again.")]
    except CheckFailedError as error:
        step = f"{WITHOUT} Reinstall it with: pip install --force-reinstall numba"
        return [note("kernels.numba", shown(str(error)), EXPECTED, step)]
    return [judge_kernels(found)]


def judge_kernels(found: Mapping[str, Any]) -> Row:
    """Judge what the child found."""
    code, version = "kernels.numba", f"numba {found['numba']}"
    types: Mapping[str, Mapping[str, Any]] = found["types"]
    if found["unit"] is None:
        words = f"{version}; but this processor has no AVX2 (or NUMBA_CPU_FEATURES hides it)"
        return note(code, words, EXPECTED, WITHOUT, found)
    wrong = [name for name, state in types.items() if state["different"]]
    if wrong:
        words = f"{version}, {found['unit']}; other bytes than ggml's for {', '.join(wrong)}"
        return note(code, words, EXPECTED, WITHOUT, found)
    ready = [name for name, state in types.items() if state["compiled"]]
    waiting = [name for name, state in types.items() if not state["compiled"]]
    words = f"{version}, {found['unit']}"
    if ready:
        words += f"; compiled, and byte for byte as ggml: {', '.join(ready)}"
    hint = ""
    if waiting:
        cached = "" if found["caches"] else " each time, for there is no folder to keep them in"
        hint = f"An export large enough to gain by it compiles {', '.join(waiting)}{cached}."
    return fine(code, words, EXPECTED, hint, found)
