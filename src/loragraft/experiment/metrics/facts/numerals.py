"""Numbers in running text: 1,200, 1 200, 1.2e3, 1.2 × 10³, twelve hundred and a half."""

# ruff: noqa: RUF001, RUF002 - the characters that others write for ours

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from loragraft.experiment.metrics.facts.number_words import WORDS, words_value

PLAIN = str.maketrans(
    {
        **dict(zip("０１２３４５６７８９", "0123456789", strict=True)),
        **dict.fromkeys("‐‑‒–—−", "-"),
        **dict.fromkeys("\u00a0\u202f\u2009\u3000\u2007\u200a", " "),
        **dict.fromkeys("×✕⋅∙", "·"),
        **dict.fromkeys("’‘ʼ", "'"),
        **dict.fromkeys("“”„", '"'),
        "％": "%",
        "º": "°",
        "µ": "μ",
        "Ω": "Ω",
        "，": ",",
    }
)
"""One character for one, so that places stay."""

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED = "[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}"
_HALVES = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5),
    "⅗": (3, 5), "⅘": (4, 5), "⅙": (1, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip
_GROUPED = (
    r"\d{1,3}(?:,\d{3})+(?!\d|,\d)(?:\.\d+)?"  # 1,200.5
    r"|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}(?![\d.])"  # 1.200,5 and 1.200.000
    r"|\d{1,3}(?: \d{3})+(?![\d ]?\d)(?:[.,]\d+)?|\d{1,3}(?:'\d{3})+(?!\d)(?:\.\d+)?"
)
_DIGITS = rf"(?:{_GROUPED}|\d+,(?:\d{{1,2}}|\d{{4,}})(?![\d,])|0,\d+|\d+(?:\.\d+)?|\.\d+)"
_POWER = rf"(?:e[-+]?\d{{1,3}}(?![\w.])|\s?[x·*]\s?10(?:\^|\*\*)?(?:[-+]?\d{{1,3}}|{_RAISED}))"
_TOKEN = re.compile(
    rf"(?P<skipped>(?!\d{{1,3}}(?:\.\d{{3}}){{2,}}(?![\d.]))\d+(?:[.:/-]\d+){{2,}}|\d{{1,2}}:\d{{2}}(?!\d))"
    rf"|(?P<raised>10(?:\^[-+]?\d{{1,3}}|{_RAISED}))"
    rf"|(?P<mixed>(?:\d{{1,6}}[ ])?\d{{1,6}}/\d{{1,6}})(?![\d/])"
    rf"|(?P<half>\d{{0,6}}\s?[{''.join(_HALVES)}])"
    rf"|(?P<digits>{_DIGITS})(?P<power>{_POWER})?(?:\s?(?:±|\+/?-)\s?{_DIGITS})?"
    rf"|(?P<words>(?<![A-Za-z])(?:{WORDS})"
    rf"(?:[ -]+(?:and[ ]+(?:a[ ]+)?)?(?:{WORDS})){{0,24}}(?![A-Za-z]))",
    re.IGNORECASE,
)
_SCALES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "mn": 10**6, "bn": 10**9, "dozen": 12,
}  # fmt: skip
_SCALE = re.compile(rf"\s?-?(?P<scale>{'|'.join(_SCALES)})\b|(?P<k>k)(?![\w/])", re.IGNORECASE)
_ORDINAL = re.compile(r"(?:st|nd|rd|th|s|D|x)\b(?!-)", re.IGNORECASE)
_LARGEST = 400
"""Powers of ten beyond say nothing, and would fill the memory."""
_LONGEST_DIGITS = 60


@dataclass(frozen=True)
class Number:
    """A number in a text.

    Attributes:
        value: Exact.
        start: Where it begins, its sign included.
        stop: One past its end.
        step: What one unit of its last digit is worth; 0 where it is exact.
        digits: How many significant ones it was written with.
        word: Whether it was written in words.
    """

    value: Fraction
    start: int
    stop: int
    step: Fraction
    digits: int
    word: bool = False


def plain(text: str) -> str:
    """Return a text with one kind of digits, dashes, quotes and spaces; places stay."""
    return text.translate(PLAIN)


def find_numbers(text: str) -> Iterator[Number]:
    """Yield the numbers of a text that :func:`plain` has made, in their order.

    Dates with three parts, times, versions, ordinals (5th) and what is part of a name (B12, P3)
    are none.
    """
    at = 0
    while (found := _TOKEN.search(text, at)) is not None:
        at = found.end()
        if found["skipped"] or _inside_name(text, found.start()):
            continue
        number = _read(text, found)
        if number is not None:
            yield number
            at = max(number.stop, found.start() + 1)


def _inside_name(text: str, start: int) -> bool:
    before = text[max(0, start - 2) : start]
    if not before:
        return False
    last = before[-1]
    if last.isalnum() or last == "_" or (last == "." and before[:1].isdigit()):
        return True
    return last == "-" and before[0].isalpha()


def _read(text: str, found: re.Match[str]) -> Number | None:
    start = _sign(text, found.start())
    sign = -1 if text[start] == "-" or text[start : start + 5].lower() == "minus" else 1
    if found["words"]:
        return _in_words(found, sign, start)
    read = _digits(found)
    if read is None:
        return None
    value, step, digits = read
    stop = found.end()
    scale = _SCALE.match(text, stop)
    if scale is not None:
        factor = _SCALES[scale["scale"].lower()] if scale["scale"] else 1000
        value, step, stop = value * factor, step * factor, scale.end()
    elif _ORDINAL.match(text, stop):
        return None
    return Number(sign * value, start, stop, step, digits)


def _sign(text: str, start: int) -> int:
    """Return where a number begins with its sign."""
    if start and text[start - 1] in "-+" and (start == 1 or text[start - 2] in " (=:~<>\n\t,$"):
        return start - 1
    return start - 6 if text[max(0, start - 6) : start].lower() == "minus " else start


def _in_words(found: re.Match[str], sign: int, start: int) -> Number | None:
    read = words_value(found["words"])
    if read is None:
        return None
    value, length, exact = read
    digits = len(str(abs(value.numerator))) if value.denominator == 1 else 1
    stop = found.start() + length
    return Number(sign * value, start, stop, Fraction(0 if exact else 1), digits, word=True)


def _digits(found: re.Match[str]) -> tuple[Fraction, Fraction, int] | None:
    """Return value, step and significant digits of what is not in words."""
    if found["raised"]:
        power = _power_of(found["raised"][2:])
        return None if power is None else (power, Fraction(0), 1)
    if found["mixed"]:
        whole, _, part = found["mixed"].rpartition(" ")
        above, below = part.split("/")
        if int(below) == 0:
            return None
        return Fraction(int(whole or 0)) + Fraction(int(above), int(below)), Fraction(0), 1
    if found["half"]:
        above_below = _HALVES[found["half"][-1]]
        return (
            Fraction(int(found["half"][:-1].strip() or 0)) + Fraction(*above_below),
            Fraction(0),
            1,
        )
    return _decimal(found["digits"], found["power"])


def _decimal(written: str, power: str | None) -> tuple[Fraction, Fraction, int] | None:
    whole, _, part = _point(written).partition(".")
    if len(whole) + len(part) > _LONGEST_DIGITS:
        return None
    factor = Fraction(1) if power is None else _power_of(re.sub(r"^\s?[x·*]\s?10", "", power))
    if factor is None:
        return None
    value = Fraction(int(whole + part or "0"), 10 ** len(part))
    digits = len((whole + part).lstrip("0")) or 1
    return value * factor, Fraction(1, 10 ** len(part)) * factor, digits


def _power_of(written: str) -> Fraction | None:
    """Return ten to the power that is written: ^3, e3, ³, -3."""
    exponent = int(written.lstrip("^*eE").translate(_SUPERSCRIPTS).replace("+", "") or 1)
    if abs(exponent) > _LARGEST:
        return None
    return Fraction(10) ** exponent


def _point(written: str) -> str:
    """Return digits with a decimal point and without what groups them."""
    bare = written.replace(" ", "").replace("'", "")
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+", bare):
        return bare.replace(".", "").replace(",", ".")
    if re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}", bare):
        return bare.replace(".", "")
    if bare.startswith("0,") or not re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", bare):
        return bare.replace(",", ".")
    return bare.replace(",", "")
