"""Figures of a verdict in words."""

from __future__ import annotations

from collections.abc import Sequence

SHARE = "share"


def change(value: float, unit: str) -> str:
    """Spell a difference: of shares in points of a hundred."""
    return f"{_signed(100 * value, 1)} points" if unit == SHARE else f"{value:+.3g} {unit}"


def span(low: float, high: float, unit: str) -> str:
    """Spell where a difference may lie."""
    if unit == SHARE:
        return f"{_signed(100 * low, 1)} to {_signed(100 * high, 1)}"
    return f"{low:+.3g} to {high:+.3g}"


def _signed(value: float, digits: int) -> str:
    """Spell a number with its sign; one that rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text if text.strip("+-0.") else text[1:]


def chance(p: float) -> str:
    """Spell a p with its sign of equality."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def rest_on(count: int, papers: int) -> str:
    """Spell what a figure rests on; papers are named where they bind questions together."""
    questions = f"{count:,} question{'s' if count != 1 else ''}"
    if papers == count:
        return questions
    return f"{questions} in {papers:,} paper{'s' if papers != 1 else ''}"


def listed(parts: Sequence[str]) -> str:
    """Join parts of a sentence."""
    return ", ".join(parts[:-1]) + f" and {parts[-1]}" if len(parts) > 1 else "".join(parts)
