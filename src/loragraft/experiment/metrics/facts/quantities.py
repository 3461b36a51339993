"""Quantities in running text, and when two of them are the same: 5 km is 5000 m."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from loragraft.experiment.metrics.facts.numerals import Number, find_numbers, plain
from loragraft.experiment.metrics.facts.unit_text import read_rate, read_unit
from loragraft.experiment.metrics.facts.units import DEGREE, TEMPERATURE, Unit

Bound = Literal["", "<", ">"]
LONGEST = 20_000
_NEAR = 12
"""Characters before a number that hold a sign of money or "between": a search from the text's
beginning on would cost the square of its length."""
"""Characters of a text in which quantities are looked for."""
_ROUNDED = 2
"""Significant digits that a converted number needs at least to count as the same."""
_SMALL = (
    "a an and are as at but by for from had has have if in into is it its not of off on or out "
    "over per since so than that the their then there these they this to under until up was were "
    "when where which while who with within would"
)
_SMALL_WORDS = frozenset(_SMALL.split())
_MORE = r"more|greater|higher|longer|larger|heavier|further|farther|older|faster|later|better"
_LESS = r"less|fewer|lower|shorter|smaller|lighter|nearer|younger|slower|earlier"
_ABOVE = re.compile(
    rf"(?:(?<!no )(?<!not )\b(?:{_MORE}) than|\bover|\babove|\bexceed(?:s|ed|ing)?|\bbeyond|"
    r"\bat least|\bminimum of|\bno (?:less|fewer) than|\bnot less than|[>≥])\s*(?:a |an |the )?$",
    re.IGNORECASE,
)
_BELOW = re.compile(
    rf"(?:(?<!no )(?<!not )\b(?:{_LESS}) than|\bunder|\bbelow|\bat most|\bup to|\bmaximum of|"
    r"\bno more than|\bnot more than|[<≤])\s*(?:a |an |the )?$",
    re.IGNORECASE,
)
_AND_MORE = re.compile(
    r"\+(?!\d)|\s+(?:or|and) (?:more|over|above|longer|greater)\b", re.IGNORECASE
)
_AND_LESS = re.compile(r"\s+(?:or|and) (?:less|fewer|under|below|shorter)\b", re.IGNORECASE)
_MONEY = re.compile(r"(US\$|[$€£¥])\s?[-+]?$")
_PART_OF = re.compile(r" (?:of )?an?(?= )", re.IGNORECASE)
_NOUN = re.compile(r"[ -]([A-Za-z][A-Za-z'-]*)")
_TO = re.compile(r"\s*(?:-|\bto\b|\bthrough\b)\s*", re.IGNORECASE)
_AND = re.compile(r"\s*(?:,|;|/|\bor\b|\band\b|,\s*(?:or|and)\b)\s*", re.IGNORECASE)
_BETWEEN = re.compile(r"\bbetween\s*$", re.IGNORECASE)
_AGAIN = re.compile(r"\s*\([^()]{1,40}\)(?=\s*[A-Za-z%°])")
_LAST_DAY = 31
_MONTHS = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December|"
    r"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\b"
)
_MONTH_AFTER, _MONTH_BEFORE = re.compile(rf"(?: of)? {_MONTHS}"), re.compile(rf"{_MONTHS}\.? $")
_IN_PARTS = ((("s", 1),), (("m", 1),), (("kg", 1),), DEGREE)
_PLUS = re.compile(r",?\s+(?:and\s+)?")
_LEAD = re.compile(
    r"^\W*(?:(?:about|around|approximately|approx\.?|roughly|nearly|almost|circa|ca\.?|c\.|some|"
    r"exactly|between|from|a total of|an average of|on average|[~≈=])\s*)+",
    re.IGNORECASE,
)
_TRAIL = re.compile(r"^[\s.!]*$")


@dataclass(frozen=True)
class Quantity:
    """A number, or a range, with its unit.

    Attributes:
        low: The number; of a range the first.
        high: The same; of a range the second.
        unit: None for a bare number or a count.
        noun: What is counted, in small letters and singular; empty where nothing is.
        bound: Whether it is only said to lie above or below.
        start: Where it begins.
        stop: One past its end, unit and noun included.
    """

    low: Number
    high: Number
    unit: Unit | None
    noun: str
    bound: Bound
    start: int
    stop: int

    @property
    def value(self) -> Fraction:
        """The number; of a range the first."""
        return self.low.value


def find_quantities(text: str) -> list[Quantity]:
    """Return the quantities of a text in their order."""
    clean = plain(text[:LONGEST])
    single: list[Quantity] = []
    for number in find_numbers(clean):
        behind = not single or number.start >= single[-1].stop  # but not the 3 of cm^3
        if behind and not _is_day(clean, number):
            single.append(_quantity(clean, number))
    return _joined(clean, _summed(clean, _with_units(clean, single)))


def read_quantity(text: str) -> Quantity | None:
    """Return the quantity that a whole text is, such as an accepted answer; None for others.

    One noun may stand behind a count; "about" before it says nothing.
    """
    clean = plain(text.strip())
    lead = _LEAD.match(clean)
    found = find_quantities(clean)
    if len(found) != 1 or not _TRAIL.match(clean[found[0].stop :]):
        return None
    before = clean[lead.end() if lead else 0 : found[0].start].strip(" \"'(")
    bound_only = _ABOVE.search(f"{before} ") or _BELOW.search(f"{before} ")
    return found[0] if not before or (bound_only and bound_only.start() == 0) else None


def _quantity(text: str, number: Number) -> Quantity:
    unit, noun, start, stop = None, "", number.start, number.stop
    money = _MONEY.search(text, max(0, start - _NEAR), start)
    part_of = _PART_OF.match(text, stop) if number.word and not number.step else None
    again = _AGAIN.match(text, stop)
    read = read_unit(text, stop if part_of is None else part_of.end())
    if read is None and again is not None:  # 95 (ninety-five) months
        read = read_unit(text, again.end())
    if money is not None:
        read = read_unit(money[1], 0)
        start = money.start()
        unit = None if read is None else read[0]
    elif read is not None:
        unit, stop = read
    else:
        noun, stop = _noun(text, stop)
        rate = read_rate(text, stop)
        if rate is not None:
            unit, stop = rate
    return Quantity(number, number, unit, noun, _bound(text, start, stop), start, stop)


def _is_day(text: str, number: Number) -> bool:
    """Whether a number is the day of a date: 5 May, May 5."""
    if not 1 <= number.value <= _LAST_DAY:
        return False
    before = text[max(0, number.start - 12) : number.start]
    return bool(_MONTH_AFTER.match(text, number.stop) or _MONTH_BEFORE.search(before))


def _summed(text: str, found: list[Quantity]) -> list[Quantity]:
    """Make one of two quantities that are parts of one: 7 years and 11 months, 5 feet 3 inches."""
    out: list[Quantity] = []
    for one in found:
        whole = _sum(text, out[-1], one) if out else None
        if whole is None:
            out.append(one)
        else:
            out[-1] = whole
    return out


def _sum(text: str, first: Quantity, second: Quantity) -> Quantity | None:
    """Return two quantities as one, if the second is a rest that is less than one of the first."""
    ours, theirs = first.unit, second.unit
    if ours is None or theirs is None or ours.dimension != theirs.dimension:
        return None
    parts = ours.dimension in _IN_PARTS and _PLUS.fullmatch(text[first.stop : second.start])
    rest = theirs.to_base(second.value)
    if not parts or first.value.denominator != 1 or not 0 < rest < ours.scale:
        return None
    value = theirs.from_base(ours.to_base(first.value) + rest)
    digits = max(len(str(int(value))), second.low.digits)
    number = replace(second.low, value=value, start=first.low.start, digits=digits)
    return replace(first, low=number, high=number, unit=theirs, stop=second.stop)


def _noun(text: str, stop: int) -> tuple[str, int]:
    """Return what is counted, of at most two words the last, and where it ends."""
    noun = ""
    for _ in range(2):
        found = _NOUN.match(text, stop)
        if found is None or found[1].lower() in _SMALL_WORDS:
            break
        noun, stop = singular(found[1].lower()), found.end()
    return noun, stop


def singular(word: str) -> str:
    """Return a word without the s of its plural."""
    irregular = {"people": "person", "men": "man", "women": "woman", "children": "child"}
    if word in irregular:
        return irregular[word]
    if len(word) > 3 and word.endswith("s") and word[-2] not in "su":
        return f"{word[:-3]}y" if word.endswith("ies") and len(word) > 4 else word[:-1]
    return word


def _bound(text: str, start: int, stop: int) -> Bound:
    before = text[max(0, start - 40) : start]
    if _ABOVE.search(before) or _AND_MORE.match(text, stop):
        return ">"
    return "<" if _BELOW.search(before) or _AND_LESS.match(text, stop) else ""


def _with_units(text: str, found: list[Quantity]) -> list[Quantity]:
    """Give numbers in a row the unit that only the last one is written with: 5, 7 or 9 days."""
    for place in range(len(found) - 2, -1, -1):
        here, after = found[place], found[place + 1]
        between = text[here.stop : after.start]
        joined = _TO.fullmatch(between) or _AND.fullmatch(between)
        if here.unit is None and not here.noun and joined and (after.unit or after.noun):
            found[place] = replace(here, unit=after.unit, noun=after.noun)
    return found


def _joined(text: str, found: list[Quantity]) -> list[Quantity]:
    """Make one of two numbers that are the ends of a range."""
    out: list[Quantity] = []
    for one in found:
        between = text[out[-1].stop : one.start] if out else ""
        open_range = bool(out) and out[-1].low is out[-1].high
        if (
            open_range
            and _alike(out[-1], one)
            and (
                _TO.fullmatch(between)
                or (
                    between.strip() == "and"
                    and _BETWEEN.search(text, max(0, out[-1].start - _NEAR), out[-1].start)
                )
            )
        ):
            out[-1] = replace(out[-1], high=one.low, unit=one.unit, noun=one.noun, stop=one.stop)
        else:
            out.append(one)
    return out


def _alike(first: Quantity, second: Quantity) -> bool:
    ours, theirs = first.unit, second.unit
    if ours is None or theirs is None:
        return ours is theirs
    return ours.dimension == theirs.dimension


def comparable(found: Quantity, accepted: Quantity) -> bool:
    """Whether two quantities are of one kind: lengths, counts; degrees may lack their scale."""
    ours, theirs = found.unit, accepted.unit
    if ours is None and theirs is None:
        return True
    if ours is None or theirs is None:
        other = theirs if ours is None else ours
        return other is not None and other.dimension == ()  # 0.221 and 22.1 %
    kinds = {ours.dimension, theirs.dimension}
    return len(kinds) == 1 or kinds == {DEGREE, TEMPERATURE}


def same(found: Quantity, accepted: Quantity) -> bool:
    """Whether two quantities are equal, units converted.

    In one unit they are equal exactly. In another one, a number counts that is the accepted one
    converted and rounded to where it stops, with as many significant digits, and two at least.
    """
    if not comparable(found, accepted) or found.bound != accepted.bound:
        return False
    return _equal(found.low, found.unit, accepted.low, accepted.unit) and _equal(
        found.high, found.unit, accepted.high, accepted.unit
    )


def consistent(found: Quantity, accepted: Quantity) -> bool:
    """Whether a quantity is the accepted one, rounded however roughly: 95 months, about 8 years."""
    if not comparable(found, accepted):
        return False
    converted = _converted(accepted.low.value, accepted.unit, found.unit)
    return abs(converted - found.low.value) * 2 <= found.low.step


def _equal(ours: Number, our: Unit | None, theirs: Number, their: Unit | None) -> bool:
    converted = _converted(theirs.value, their, our)
    if converted == ours.value:
        return True
    if _scale(our) == _scale(their) or ours.digits < max(theirs.digits, _ROUNDED):
        return False
    return abs(converted - ours.value) * 2 <= ours.step


def _converted(value: Fraction, unit: Unit | None, target: Unit | None) -> Fraction:
    kinds = {one.dimension for one in (unit, target) if one is not None}
    if DEGREE in kinds:
        return value
    base = value if unit is None else unit.to_base(value)
    return base if target is None else target.from_base(base)


def _scale(unit: Unit | None) -> tuple[Fraction, Fraction]:
    return (Fraction(1), Fraction(0)) if unit is None else (unit.scale, unit.offset)


def any_same(found: Quantity, accepted: Sequence[Quantity]) -> bool:
    """Whether a quantity equals one of several."""
    return any(same(found, one) for one in accepted)
