"""Units in running text: km/s, g cm-3, millivolts per week, square metres, °C."""

from __future__ import annotations

import re
from functools import cache

from loragraft.experiment.metrics.facts.units import Unit, names, symbols

_SYMBOL = re.compile(r"US\$|[$€£¥%‰¢]|° ?[CF](?![A-Za-z])|°|[A-Za-zμΩÅ]+")
_NAME = re.compile(r"[A-Za-zåöÅ]+")
_EXPONENT = re.compile(r"\^\(?([-+]?\d)\)?|([-+]?[1-9])(?![\d.,]\d|\d|\w)|(⁻?[¹²³⁴])")
_RAISED = str.maketrans("⁻¹²³⁴", "-1234")
_WORD_POWER = re.compile(r"\s+(squared|cubed)\b", re.IGNORECASE)
_POWERED = re.compile(r"(square|cubic|sq\.?|cu\.?)\s+", re.IGNORECASE)
_PER = re.compile(r"\s*/\s*|\s+per\s+|\s+an?\s+(?=[a-z]{3,}\b)|\s+each\s+", re.IGNORECASE)
_TIMES = re.compile(r"\s*[·*]\s*|(?<=[a-zA-Zμ²³])[ -](?=[A-Za-zμ]+(?:\^?-?\d|⁻?[¹²³]))")
_LONGEST_NAME = 3
_COMMON = (
    "km cm mm nm kg mg ml kHz MHz GHz Hz kW kWh mAh kPa hPa eV keV dB kcal sec min hr hrs yr yrs "
    "ft lb lbs oz mph ppm ppb rpm mol mmol USD EUR GBP atm psi torr mmHg"
)
_NO_SYMBOLS = frozenset(("in", "as", "at", "am", "do", "he", "his", "me", "my", "pa", "us", "a"))
"""Words that would be units if they were written otherwise."""


def read_unit(text: str, start: int) -> tuple[Unit, int] | None:
    """Return the unit that begins at a place, and where it ends; None for none.

    Args:
        text: As :func:`~loragraft.experiment.metrics.facts.numerals.plain` makes it.
        start: Behind a number; spaces and one hyphen may stand there.
    """
    first = _power(text, _skip(text, start))
    if first is None:
        return None
    unit, at = first
    inverse = False
    for _ in range(4):
        times, per = _TIMES.match(text, at), _PER.match(text, at)
        joint = times or per
        if joint is None:
            break
        inverse = inverse or times is None
        following = _power(text, joint.end())
        if following is None:
            break
        other, at = following
        unit = unit.times(other.to_the(-1 if inverse else 1))
    return unit, at


def read_rate(text: str, start: int) -> tuple[Unit, int] | None:
    """Return what stands behind a count's noun: per hour, /km2."""
    per = _PER.match(text, start)
    if per is None:
        return None
    found = _power(text, per.end())
    return None if found is None else (found[0].to_the(-1), found[1])


def _skip(text: str, start: int) -> int:
    found = re.compile(r" ?-? ?").match(text, start)
    return start if found is None else found.end()


def _power(text: str, start: int) -> tuple[Unit, int] | None:
    """Return a unit with its exponent."""
    before = _POWERED.match(text, start)
    found = _single(text, start if before is None else before.end())
    if found is None:
        return None
    unit, at = found
    if before is not None:
        return unit.to_the(2 if before[1].lower().startswith("sq") else 3), at
    after = _EXPONENT.match(text, at) or _WORD_POWER.match(text, at)
    if after is None:
        return unit, at
    power = _exponent(after)
    return (unit, at) if power == 0 else (unit.to_the(power), after.end())


def _exponent(found: re.Match[str]) -> int:
    if found.re is _WORD_POWER:
        return 2 if found[1].lower() == "squared" else 3
    written = next(group for group in found.groups() if group)
    return int(written.translate(_RAISED))


def _single(text: str, start: int) -> tuple[Unit, int] | None:
    """Return one unit without its exponent: by name, the longest first, or by symbol."""
    known, at, words = names(), start, list[tuple[str, int]]()
    for _ in range(_LONGEST_NAME):
        found = _NAME.match(text, at)
        if found is None:
            break
        words.append((found[0].lower(), found.end()))
        if text[found.end() : found.end() + 1] not in (" ", "-"):
            break
        at = found.end() + 1
    for count in range(len(words), 0, -1):
        name = " ".join(word for word, _ in words[:count])
        if name in known:
            return known[name], words[count - 1][1]
    return _by_symbol(text, start)


def _by_symbol(text: str, start: int) -> tuple[Unit, int] | None:
    found = _SYMBOL.match(text, start)
    if found is None:
        return None
    symbol = found[0].replace(" ", "")
    unit = symbols().get(symbol)
    if unit is None and symbol.lower() not in _NO_SYMBOLS:
        unit = _loose().get(symbol.lower())
    if unit is None or symbol in _NO_SYMBOLS:
        return None
    return unit, found.end()


@cache
def _loose() -> dict[str, Unit]:
    """Return units that are often written with the wrong letters: Km, KG, Hz."""
    return {name.lower(): symbols()[name] for name in _COMMON.split()}
