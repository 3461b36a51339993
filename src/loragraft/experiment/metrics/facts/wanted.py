"""Which quantities of an answer are meant as the answer, and which of them are right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from loragraft.experiment.metrics.facts.numerals import plain
from loragraft.experiment.metrics.facts.quantities import (
    Quantity,
    any_same,
    comparable,
    consistent,
    find_quantities,
)
from loragraft.experiment.metrics.facts.unit_text import read_unit
from loragraft.experiment.metrics.facts.units import Unit

_WORD = re.compile(r"[A-Za-z]+|%|°")
_IRREGULAR = "feet inches percent per celsius fahrenheit kelvin hertz centuries % °"
_PLURAL = frozenset(_IRREGULAR.split())
_ALONE = 3
"""Words of an answer that is nothing but its number."""


class Wanted:
    """The accepted quantities of a question.

    A number without a unit is right where one is accepted so, or where the question names the unit.
    Where only a number is accepted, it may have the unit that the question names; any, if neither
    question nor accepted answers name one.
    """

    def __init__(self, accepted: Sequence[Quantity], question: str) -> None:
        """Read what the question says of units, and the quantities that it holds itself."""
        self.units = list(_units_of(question))
        named = [one.unit for one in accepted if one.unit is not None] or self.units
        bare = [one for one in accepted if one.unit is None and not one.noun]
        self.accepted = [*accepted, *(replace(one, unit=unit) for one in bare for unit in named)]
        self.free = bare if not named else []
        self.nouns = {one.noun for one in accepted if one.noun}
        self.asked = [one for one in find_quantities(question) if not self.is_right(one)]

    def is_right(self, found: Quantity) -> bool:
        """Whether a quantity equals an accepted one."""
        if any(any_same(one, self.accepted) for one in self._readings(found)):
            return True
        return any_same(replace(found, unit=None), self.free) if found.unit else False

    def agrees(self, found: Quantity) -> bool:
        """Whether a quantity may be an accepted one in other units, roughly; or is another thing.

        Bounds do not matter here: "95 months, less than 8 years".
        """
        return self.is_right(found) or any(consistent(found, one) for one in self.accepted)

    def candidates(self, statement: str) -> list[Quantity]:
        """Return the quantities of a statement that may be its answer, in their order."""
        alone = len(statement.split()) <= _ALONE
        found = [
            one for one in find_quantities(statement)
            if self._fits(one) and not any_same(one, self.asked)
            and (alone or not _pronoun(one) or self.is_right(one))
        ]  # fmt: skip
        named = [one for one in found if one.noun and one.noun in self.nouns]
        return named or found

    def _fits(self, found: Quantity) -> bool:
        """Whether a quantity is of the kind that is asked for."""
        if found.unit is not None and self.free:
            return True
        return any(comparable(one, each) for one in self._readings(found) for each in self.accepted)

    def _readings(self, found: Quantity) -> Iterator[Quantity]:
        """Yield a quantity, and a bare number also in the units that the question names."""
        yield found
        if found.unit is None and (not found.noun or found.noun in self.nouns):
            yield from (replace(found, unit=unit) for unit in self.units)


def _pronoun(found: Quantity) -> bool:
    """Whether a number is the word one, which may stand for anything."""
    return found.low.word and found.value == 1 and found.unit is None


def _units_of(question: str) -> Iterator[Unit]:
    """Yield the units that a question names in the plural, as "how many days"."""
    text, at = plain(question), 0
    while (word := _WORD.search(text, at)) is not None:
        at = word.end()
        plural = word[0].lower() in _PLURAL or (len(word[0]) > 3 and word[0].endswith("s"))
        compound = word[0].lower() in ("square", "cubic", "degrees", "nautical")
        read = read_unit(text, word.start()) if plural or compound else None
        if read is not None and (word.start() == 0 or not text[word.start() - 1].isdigit()):
            yield read[0]
            at = max(at, read[1])
