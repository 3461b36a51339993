"""Numbers of a claim and of a passage, with their units."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from loragraft.experiment.metrics.facts.quantities import (
    Quantity,
    comparable,
    find_quantities,
    same,
)
from loragraft.experiment.metrics.facts.unit_text import read_unit
from loragraft.experiment.metrics.facts.units import Unit
from loragraft.experiment.metrics.grounding.reading import Reading, Word

MOST_AMOUNTS = 500
"""Numbers of a text that are looked at: a table in a chunk has a hundred."""
YEARS = (1000, 2100)
ALIKE = 5
"""Letters at the beginning of two words that are forms of one."""


@dataclass(frozen=True)
class Amount:
    """A number of a text.

    Attributes:
        quantity: Its value and unit; None for what is no number to count with: a time, a version.
        shown: As it is written.
        clause: Number of its clause; -1 for none.
        sentence: Number of its sentence.
    """

    quantity: Quantity | None
    shown: str
    clause: int
    sentence: int

    @cached_property
    def readings(self) -> tuple[Quantity, ...]:
        """The quantity without its bound; of a range also both ends."""
        return () if self.quantity is None else tuple(_readings(self.quantity))

    def same(self, other: Amount) -> bool:
        """Whether another one says the same, in whatever unit; one of them may lack it."""
        if self.quantity is None or other.quantity is None:
            return self.quantity is other.quantity and self.shown == other.shown
        ours = self.readings[0]
        return any(
            same(ours, one) or (ours.value == one.value and (_bare(ours) or _bare(one)))
            or (ours.value == one.value and self._unit_alike(other))
            for one in other.readings
        )  # fmt: skip

    def _unit_alike(self, other: Amount) -> bool:
        """Whether both have one unit in two forms that are not known: Meter, Metern."""
        ours, theirs = self.shown.split()[-1], other.shown.split()[-1]
        return ours[:ALIKE].isalpha() and ours[:ALIKE].casefold() == theirs[:ALIKE].casefold()

    def ends(self) -> list[Amount]:
        """Return both ends of a range; itself alone, where it is none."""
        if self.quantity is None or self.quantity.low is self.quantity.high:
            return [self]
        return [replace(self, quantity=one) for one in self.readings[1:]]

    def like(self, other: Amount) -> bool:
        """Whether the numbers are the same, and the units are not."""
        if self.quantity is None or other.quantity is None:
            return False
        values = {one.value for one in other.readings}
        return self.quantity.value in values and not self.same(other)

    def rivals(self, other: Amount) -> bool:
        """Whether another one could stand in its place and says something else."""
        ours, theirs = self.quantity, other.quantity
        if ours is None or theirs is None or self.same(other):
            return False
        if is_year(ours) != is_year(theirs):
            return False
        if ours.unit is None and theirs.unit is None:
            return ours.noun == theirs.noun or not (ours.noun and theirs.noun)
        return ours.unit is not None and theirs.unit is not None and comparable(ours, theirs)


def _bare(quantity: Quantity) -> bool:
    """Whether it is a number without a unit and counts nothing."""
    return quantity.unit is None and not quantity.noun


def is_year(quantity: Quantity) -> bool:
    """Whether it looks like a year: a bare number of four digits."""
    whole = quantity.value.denominator == 1 and YEARS[0] <= quantity.value < YEARS[1]
    return _bare(quantity) and whole and quantity.low.stop - quantity.low.start == len("2026")


def _readings(quantity: Quantity) -> Iterator[Quantity]:
    """Yield a quantity without its bound, and of a range also both ends."""
    whole = replace(quantity, bound="")
    yield whole
    if quantity.low is not quantity.high:
        yield replace(whole, high=quantity.low)
        yield replace(whole, low=quantity.high)


def amounts(reading: Reading) -> list[Amount]:
    """Return the numbers of a text in their order: of an endless one the first."""
    out: list[Amount] = []
    words = reading.words
    stops = [word.stop for word in words]
    covered: set[int] = set()
    for quantity in find_quantities(reading.text):
        if _pronoun(quantity) or not words:
            continue
        first = bisect_right(stops, quantity.start)
        last = bisect_right(stops, quantity.stop - 1)
        covered.update(range(first, last + 1))
        at = words[min(first, len(words) - 1)]
        shown = reading.text[quantity.start : quantity.stop]
        out.append(Amount(quantity, shown, at.clause, at.sentence))
    for number, word in enumerate(words):
        if word.number and number not in covered:
            out.append(Amount(None, word.text, word.clause, word.sentence))
    return out[:MOST_AMOUNTS]


def _pronoun(found: Quantity) -> bool:
    """Whether a number is the word one, which may stand for anything."""
    return found.low.word and found.value == 1 and found.unit is None


def unit_of(word: Word) -> Unit | None:
    """Return the unit that a word is; None for another word."""
    read = read_unit(word.text, 0)
    return read[0] if read is not None and read[1] == len(word.text) else None
