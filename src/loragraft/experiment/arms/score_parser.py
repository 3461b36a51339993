r"""A number from 0 to 1 in what a model wrote: found in three stages, or not at all.

1. The whole answer is a number: ``0.7``, ``.7``, ``0,7``, ``70 %``, ``7/10``, ``seven out of ten``.
2. A marked place holds one: a JSON object's ``score``, ``Score: 0.7``, ``the answer is 0.7``,
   ``<score>0.7</score>``, ``\boxed{0.7}``, ``**0.7**``; the first kind of mark that holds a
   number counts: if it is one from 0 to 1, and everywhere the same.
3. Last resort: in digits, the answer holds one number from 0 to 1. Larger ones beside it are
   counts; a number behind "not", "rule", "step" or at the beginning of a list's line is none.

Rules for what lies outside 0 to 1. A percentage, a fraction and "out of" say their own scale, and
are divided. Any other number above 1 or below 0 is none: 85 may mean 85 % or 85 of 1,000, and
nobody knows. What is written as a scale ("from 0 to 1", "0-1") is no answer. There is never a
default: an answer without a number is a parse error.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple

Stage = Literal["whole", "marked", "last resort"]
SLACK = 1e-6
"""So far beyond 0 or 1, a number is that: 1.0000001 is rounding."""
_DIGITS = 12
"""Behind the point, up to which two numbers are the same: 7 % and 0.07."""
LONGEST = 20_000
"""Characters that are looked at: an answer of a number has ten."""


class Parsed(NamedTuple):
    """A number and how it was found."""

    value: float
    stage: Stage


_ONES = (  # noqa: SIM905 - twenty quoted words are hard to read
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_WORDS = {word: value for value, word in enumerate(_ONES)}
_WORDS |= {word: 10 * value for value, word in enumerate(_TENS, start=2)}
_WORDS |= {"hundred": 100, "a hundred": 100, "one hundred": 100}
_WORDS |= {f"{ten}-{one}": _WORDS[ten] + _WORDS[one] for ten in _TENS for one in _ONES[1:10]}
_SHARES = {
    "half": 0.5, "one half": 0.5, "a half": 0.5, "one third": 1 / 3, "a third": 1 / 3,
    "two thirds": 2 / 3, "one quarter": 0.25, "a quarter": 0.25, "three quarters": 0.75,
}  # fmt: skip

_PLAIN = r"[-+]?(?:\d{1,15}(?:[.,]\d{1,30})?|[.,]\d{1,30})(?:[eE][-+]?\d{1,3})?"
_NAMED = "|".join(sorted((re.escape(w) for w in (*_WORDS, *_SHARES)), key=len, reverse=True))
_POINT = rf"(?:(?:zero|nought)\s+)?point(?:\s+(?:{'|'.join(_ONES[:10])})){{1,8}}"
_ANY = rf"(?:{_PLAIN}|{_POINT}|(?:{_NAMED})\b)"
_NUMBER = re.compile(
    rf"(?<![\w.,/-])(?P<top>{_ANY})"
    rf"(?:\s*(?P<percent>%|per\s?cent\b)|\s*(?:/|out\s+of)\s*(?P<bottom>{_ANY}))?"
    r"(?!\w|[.,:]\d|/\d)",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
_NO_ANSWER = re.compile(
    r"(?:\bnot|n't|\b(?:rules?|examples?|comments?|no|steps?|options?|parts?|sections?|items?|"
    r"points?|paragraphs?|sentences?|pages?|lines?|reasons?|level|version))\.?\s{1,3}#?$"
    r"|#$|:$",
    re.IGNORECASE,
)
"""What stands before a number that only names or denies something."""
_BEFORE = 20
_LISTED = re.compile(r"(?m)^[ \t]{0,8}\d{1,3}[.)][ \t]")
_OTHER = re.compile(r"\s{0,3}(?:or|to|and|-)\s{0,3}")
"""Between two numbers of which nobody knows which is meant."""
_SCALE = re.compile(
    r"(?:\b(?:from|between|of)\s{1,3})?\b0(?:\.0{1,3})?\s{0,3}(?:to|and|-|through)\s{0,3}"
    r"1(?:\.0{1,3})?\b(?!\s{0,3}/)(?!\.\d)",
    re.IGNORECASE,
)
_NAMES = r"(?:final\s+)?(?:score|answer|rating|probability|number|value|result|confidence)"
_MARKS = (
    re.compile(r"\\boxed\{([^{}]{1,40})\}"),
    re.compile(r"<(score|answer|rating|result)>([^<>]{1,40})</\1>", re.IGNORECASE),
    re.compile(
        rf"\b{_NAMES}\b[*_\"'` ]{{0,4}}(?:\([^()\n]{{0,40}}\)[*_ ]{{0,4}})?(?:\bis\b|\bof\b|[:=])"
        rf"[*_\"'` ]{{0,6}}(?P<rest>[^\n]{{1,60}})",
        re.IGNORECASE,
    ),
    re.compile(r"\*\*([^*\n]{1,40})\*\*|`([^`\n]{1,40})`"),
)
_BEGIN = re.compile(r"[\s\"'`*_;:!()\[\]{}<>~-]*(?:(?:about|around|approximately)\s+)?")
_OBJECT = re.compile(r"\{[^{}]{1,2000}\}")
_KEYS = ("score", "answer", "rating", "probability", "value", "result", "number")
_AROUND = " \t\r\n\"'`*_;:!()[]{}<>"


def parse_float(text: str) -> Parsed | None:
    """Return the number that an answer is, as ``float()`` reads it; None where it is none.

    A number outside 0 to 1 is none.
    """
    try:
        value = float(text.strip())
    except ValueError:
        return None
    return _within(value, "whole")


def parse_staged(text: str) -> Parsed | None:
    """Return the number that an answer gives, found in three stages; None where there is none."""
    text = unicodedata.normalize("NFKC", text[:LONGEST]).translate(_DASHES)
    whole = _whole(text)
    if whole is not None:
        return _within(whole, "whole")
    text = _SCALE.sub(" ", text)
    for values in _marked(text):
        found = {round(value, _DIGITS) for value in values}
        if found:
            return _within(found.pop(), "marked") if len(found) == 1 else None
    inside = {
        round(one.value, _DIGITS)
        for value in _numbers(_LISTED.sub(" ", text))
        if (one := _within(value, "last resort"))
    }
    return Parsed(inside.pop(), "last resort") if len(inside) == 1 else None


_DASHES = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-") | {"\u2044": "/"}
)


def _within(value: float, stage: Stage) -> Parsed | None:
    if not -SLACK <= value <= 1 + SLACK:  # NaN neither
        return None
    return Parsed(min(1.0, max(0.0, value)) + 0.0, stage)


def _whole(text: str) -> float | None:
    found = _NUMBER.fullmatch(text.strip(_AROUND).rstrip("." + _AROUND))
    return None if found is None else _value(found)


def _numbers(text: str) -> Iterator[float]:
    """Yield the numbers of a text that are written in digits and may be its answer."""
    for found in _NUMBER.finditer(text):
        before = text[max(0, found.start() - _BEFORE) : found.start()]
        value = _value(found)
        if value is not None and not found["top"][0].isalpha() and not _NO_ANSWER.search(before):
            yield value


def _marked(text: str) -> Iterator[list[float]]:
    """Yield, for each kind of mark, the numbers that stand in such marks."""
    yield list(_in_objects(text))
    for mark in _MARKS:
        values: list[float] = []
        for found in mark.finditer(text):
            inside = found["rest"] if "rest" in mark.groupindex else _last_group(found)
            values += _leading(inside)
        yield values


def _leading(text: str) -> Iterator[float]:
    """Yield the number that a text begins with, and what it is an alternative to."""
    found = _NUMBER.search(text)
    if found is None or _BEGIN.fullmatch(text[: found.start()]) is None:
        return
    while found is not None:
        value = _value(found)
        if value is not None:
            yield value
        joined = _OTHER.match(text, found.end())
        found = None if joined is None else _NUMBER.match(text, joined.end())


def _last_group(found: re.Match[str]) -> str:
    return next(group for group in reversed(found.groups()) if group is not None)


def _in_objects(text: str) -> Iterator[float]:
    for found in _OBJECT.finditer(text):
        try:
            values = json.loads(found[0])
        except (ValueError, RecursionError):
            continue
        for key in _KEYS:
            value = values.get(key) if isinstance(values, dict) else None
            if isinstance(value, str):
                value = _whole(value)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield float(value)
                break


def _value(found: re.Match[str]) -> float | None:
    top = _read(found["top"])
    if found["percent"]:
        return top / 100
    if found["bottom"] is None:
        return top
    bottom = _read(found["bottom"])
    return top / bottom if bottom > 0 and math.isfinite(bottom) else None


def _read(text: str) -> float:
    words = " ".join(text.lower().split())
    if words in _SHARES:
        return _SHARES[words]
    if words in _WORDS:
        return float(_WORDS[words])
    if "point" in words:
        digits = words.partition("point")[2].split()
        return float("0." + "".join(str(_ONES.index(digit)) for digit in digits))
    thousands = _THOUSANDS.fullmatch(words) is not None
    return float(words.replace(",", "" if thousands else "."))
