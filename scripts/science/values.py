"""Measured values as text, and the other spellings of them that are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SPELLED = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
"""
_ONES = _SPELLED.split()
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

GROUPED_FROM = 10_000
"""Numbers from here on are written with a comma, as the papers do."""


@dataclass(frozen=True)
class Range:
    """Which values a quantity can take, in steps of its last decimal place.

    Whole numbers inside, so that no platform rounds otherwise.
    """

    low: int
    high: int
    decimals: int
    units: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.high - self.low + 1

    def number(self, value: int) -> str:
        """Return the number alone, as papers write it."""
        if not self.decimals:
            return f"{value:,}" if value >= GROUPED_FROM else str(value)
        whole, part = divmod(value, 10**self.decimals)
        return f"{whole}.{part:0{self.decimals}d}"

    def text(self, value: int) -> str:
        """Return number and unit, as papers write it."""
        return f"{self.number(value)} {self.units[0]}".rstrip()

    def answers(self, value: int, *, bare: bool) -> list[str]:
        """Return the accepted answers, the paper's own first.

        Args:
            value: In steps of the last decimal place.
            bare: Whether the number alone is an answer, since the question names the unit.
        """
        numbers = [self.number(value)]
        if not self.decimals:
            numbers += [str(value), f"{value:,}"]
            numbers += [spelled(value)] if value < 100 else []
        found = [f"{number} {unit}".rstrip() for unit in self.units for number in numbers]
        if "%" in self.units:
            found += [f"{number}%" for number in numbers]
        return list(dict.fromkeys([*found, *(numbers if bare else [])]))


def spelled(value: int) -> str:
    """Return a number below a hundred in words."""
    if value < len(_ONES):
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def spread(low: int, high: int, places: Sequence[int]) -> list[int]:
    """Return one value for each place, all clearly apart.

    The range is divided into twice as many cells as there are values less one; every value lies in
    a cell of its own with an empty cell between it and the next, so no two are near each other.

    Args:
        low: Smallest value.
        high: Largest value.
        places: For each rank, lowest first, any large number: where within its cell it lies.
    """
    cells = 2 * len(places) - 1
    width = (high - low + 1) // cells
    return [low + 2 * rank * width + place % width for rank, place in enumerate(places)]
