"""llama.cpp's log, kept off the terminal: its last words explain a failure."""

from __future__ import annotations

import ctypes
from collections import deque
from functools import cache
from typing import Any

WARN, ERROR = 3, 4
"""Levels of ggml_log_level."""
LAST_LINES = 4

_LINES: deque[str] = deque(maxlen=40)


@cache
def _callback() -> Any:  # noqa: ANN401 - a ctypes function pointer
    import llama_cpp

    def write(level: int, text: bytes, data: int | None) -> None:
        if level in (WARN, ERROR):
            _LINES.append(text.decode("utf-8", "replace").strip())

    return llama_cpp.llama_log_callback(write)


def keep_log_quiet() -> None:
    """Send llama.cpp's warnings and errors into memory, for the rest of the process.

    The callback is never freed: llama.cpp's threads may write at any time.
    """
    import llama_cpp

    llama_cpp.llama_log_set(_callback(), ctypes.c_void_p(0))


def forget_log() -> None:
    """Drop what was logged so far."""
    _LINES.clear()


def log_lines() -> tuple[str, ...]:
    """Return the warnings and errors so far, the oldest of many left out."""
    return tuple(_LINES)


def last_log_lines() -> str:
    """Return the last warnings and errors in one line, or that there were none."""
    return " | ".join(list(_LINES)[-LAST_LINES:]) or "it gave no reason"
