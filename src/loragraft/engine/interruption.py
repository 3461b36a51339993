"""Ctrl-C while foreign code computes: noted at once, acted upon when it has come to an end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_noted(noted: list[int]) -> Iterator[None]:
    """Note interruptions in a list, and let the usual handlers have them at the end.

    An exception that a handler raises inside a ctypes callback is lost; a note in a list is not.
    Outside the main thread, and for signals that are not handled in Python, nothing changes.

    Args:
        noted: Emptied, then filled with the numbers of signals as they come.
    """
    noted.clear()

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    replaced = [number for number in SIGNALS if callable(before[number])]
    try:
        for number in replaced:
            signal.signal(number, note)
    except ValueError:  # not the main thread
        replaced = []
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, before[number])
    for came in noted:
        handler = before[signal.Signals(came)]
        if callable(handler):
            handler(came, None)
