"""How a long job tells how far it is."""

from __future__ import annotations

from typing import Protocol

BYTES = "bytes"
"""What a stage counts where it does not say otherwise."""
MANY_MINUTES = 3 * 24 * 60
"""From here on a time is told in days."""


def format_seconds(seconds: float) -> str:
    """Spell a time: ``40 s``, ``12 min``, ``3 h 5 min``, ``4 days``."""
    minutes = round(seconds / 60)
    if minutes >= MANY_MINUTES:
        return f"{minutes / 1440:.0f} days"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Progress(Protocol):
    """Someone who wants to know. Every method may be called from any thread."""

    def begin(self, stage: str, total: int, unit: str = BYTES) -> None:
        """Start a stage, ending the one before.

        Args:
            stage: What is being done, as a short phrase ("Writing Q4_K_M").
            total: How many bytes it will handle; 0 if that is not known.
            unit: What is counted where it is not bytes, in the plural ("chunks").
        """

    def advance(self, count: int) -> None:
        """Say that so many more bytes, or whatever the stage counts, are done."""

    def note(self, text: str) -> None:
        """Say something worth reading, one sentence, at any time."""

    def end(self) -> None:
        """End the last stage."""


class Silent:
    """A progress that nobody watches."""

    def begin(self, stage: str, total: int, unit: str = BYTES) -> None:
        """Do nothing."""

    def advance(self, count: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""
