"""How figures are spelled, on the page, in Markdown and in a terminal: everywhere the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loragraft.experiment.table import number

SMALLEST_P = 1e-3
"""Below, a reader needs no digits."""


NONE = "\u2013"
"""Stands where no value is to be had."""


@dataclass(frozen=True)
class Scale:
    """How a unit is shown.

    Attributes:
        factor: What a value is multiplied with.
        decimals: Behind the point; None for as many as count.
        unit: Behind a value.
        gap: Behind a difference of two values.
    """

    factor: float
    decimals: int | None
    unit: str
    gap: str


_SCALES = {
    "share": Scale(100, 1, "%", "points"),
    "points of 100": Scale(1, 1, "points", "points"),
    "count": Scale(1, 3, "", ""),
    "seconds": Scale(1, 3, "s", "s"),
    "tokens": Scale(1, 1, "tokens", "tokens"),
    "tokens per second": Scale(1, 1, "tokens/s", "tokens/s"),
    "seconds per token": Scale(1, 3, "s/token", "s/token"),
    "bytes": Scale(2.0**-30, 2, "GiB", "GiB"),
}


def scale_of(unit: str) -> Scale:
    """Return how values of a metric's unit are shown."""
    return _SCALES.get(unit, Scale(1, None, unit, unit))


def bare(value: float | None, unit: str) -> str:
    """Spell a value without its unit: ``61.2`` for a share of 0.612; a dash for none."""
    if value is None or not math.isfinite(value):
        return NONE
    scale = scale_of(unit)
    scaled = value * scale.factor
    text = number(scaled) if scale.decimals is None else f"{scaled:,.{scale.decimals}f}"
    return text.removeprefix("-") if not any(digit in "123456789" for digit in text) else text


def spelled(value: float | None, unit: str) -> str:
    """Spell a value: ``61.2 %``."""
    text = bare(value, unit)
    return text if text == NONE else f"{text} {scale_of(unit).unit}".rstrip()


def signed(value: float | None, unit: str) -> str:
    """Spell a difference without its unit, always with a sign: ``+8.4``; nothing is ``0.0``."""
    text = bare(value, unit)
    return f"+{text}" if value is not None and value > 0 and text.strip("0.,") else text


def difference(value: float | None, unit: str) -> str:
    """Spell a difference of two values: ``+8.4 points`` for shares."""
    text = signed(value, unit)
    return text if text == NONE else f"{text} {scale_of(unit).gap}".rstrip()


def p_value(p: float) -> str:
    """Spell a p-value: ``= 0.031``, ``< 0.001``."""
    return "< 0.001" if p < SMALLEST_P else f"= {p:.3f}"


def trimmed(text: str) -> str:
    """Take off zeros behind the point that say nothing of a single value: ``100 %``."""
    figure, space, unit = text.partition(" ")
    if "." in figure and "e" not in figure:
        figure = figure.rstrip("0").rstrip(".")
    return f"{figure}{space}{unit}"


def percent(level: float) -> str:
    """Spell a level of confidence: ``95 %``."""
    return f"{level * 100:g} %"
