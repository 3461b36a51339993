"""Read a score from 0 to 1 out of what a model wrote, or say why there is none.

Nothing is guessed and nothing is clamped: a model that answers 85 to a question for 0 to 1 has
not answered, and two numbers without a label are no answer either.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d{1,3})?"
_PERCENT = re.compile(rf"({_NUMBER})\s*(?:%|percent\b)", re.IGNORECASE)
_RATIO = re.compile(rf"(?<![\w./])({_NUMBER})\s*(?:/|out of)\s*({_NUMBER})(?![\w/])", re.IGNORECASE)
_PLAIN = re.compile(rf"(?<![\w.,])({_NUMBER})(?![\w%])(?!\.\d)", re.IGNORECASE)
_LABEL = re.compile(
    r"\b(?:final\s+)?(?:score|rating|answer|probability|confidence|likelihood|label|value)\b"
    r"[\"'*_`]*\s*(?:is|of|:|=|->|→)?\s*[\"'*_`]*\s*(?=[-+.\d])",
    re.IGNORECASE,
)
_THOUGHTS = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.IGNORECASE | re.DOTALL)
_SCALE = re.compile(
    r"[\[(]?\b0(?:\.0+)?\s*(?:-|to|and|,|\.\.)\s*1(?:\.0+)?\b(?!\.?\d)[\])]?",
    re.IGNORECASE,
)
"""The scale itself, repeated in an answer ("from 0 to 1, I would say …")."""
_DECIMAL_COMMA = re.compile(r"(?<![\d,.])(\d+),(\d+)(?![\d,])")
_LIST_ITEM = re.compile(r"^\s*\d+[.)]\s+(?=\D)", re.MULTILINE)

_DASHES = dict.fromkeys(map(ord, "\N{MINUS SIGN}\N{EN DASH}\N{EM DASH}"), "-")

_LONGEST = 4000
"""Characters that are read of an answer, from its end: scores come last, and text may be long."""


@dataclass(frozen=True)
class ParsedScore:
    """A score, or why there is none.

    Attributes:
        value: From 0 to 1; None if the answer holds no score.
        reason: How it was read, or what was in its place.
    """

    value: float | None
    reason: str


def parse_score(text: str) -> ParsedScore:
    """Read one score from 0 to 1.

    Taken are a number in that range, a percentage, a ratio (``7/10``), each alone, or the last
    one that a label names (``Score: 0.7``, ``{"score": 0.7}``). Thoughts in ``<think>`` and the
    scale itself are passed over; a decimal comma is read as a point.
    """
    clean = _normalize(text)
    if not clean:
        return ParsedScore(None, "nothing was written")
    labelled = list(_LABEL.finditer(clean))
    if labelled:
        rest = clean[labelled[-1].end() :]
        value = _leading(rest)
        if value is not None:
            return _in_range(value, "labelled")
    values = _all_values(clean)
    if not values:
        return ParsedScore(None, "no number")
    if len(set(values)) == 1:
        return _in_range(values[0], "the only number")
    first = _leading(clean)
    if first is not None and 0 <= first <= 1 and not _is_sentence_of_numbers(clean):
        return ParsedScore(float(first), "the first word")
    return ParsedScore(None, f"{len(set(values))} different numbers without a label")


def _normalize(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text[-_LONGEST:]).translate(_DASHES)
    plain = _THOUGHTS.sub(" ", plain)
    plain = _DECIMAL_COMMA.sub(_point, plain)
    plain = _LIST_ITEM.sub("", plain)
    return _SCALE.sub(" ", plain).strip() or plain.strip()


def _point(match: re.Match[str]) -> str:
    return f"{match[1]}.{match[2]}" if match[1] in ("0", "1") else match[0]


def _leading(text: str) -> float | None:
    """Return the value that a text begins with, as ratio, percentage or plain number."""
    for pattern in (_RATIO, _PERCENT, _PLAIN):
        match = pattern.match(text)
        if match is not None:
            return _value(match)
    return None


def _all_values(text: str) -> list[float]:
    """Return every value in a text; what is part of a ratio or a percentage counts once."""
    values: list[float] = []
    for pattern in (_RATIO, _PERCENT, _PLAIN):
        values += [
            value for match in pattern.finditer(text) if (value := _value(match)) is not None
        ]
        text = pattern.sub(" ", text)
    return values


def _value(match: re.Match[str]) -> float | None:
    number = float(match[1])
    if match.re is _PERCENT:
        return number / 100
    if match.re is _RATIO:
        whole = float(match[2])
        if not (math.isfinite(number) and math.isfinite(whole)) or whole <= 0:
            return None
        return float(Fraction(number) / Fraction(whole))
    return number


def _is_sentence_of_numbers(text: str) -> bool:
    """Say whether the first number is one end of a range ("0.2 to 0.4"), so no answer."""
    return re.match(rf"{_NUMBER}\s*(?:-|to|and|or|,)\s*{_NUMBER}", text) is not None


def _in_range(value: float, how: str) -> ParsedScore:
    if not math.isfinite(value):
        return ParsedScore(None, "a number that is not finite")
    if 0 <= value <= 1:
        return ParsedScore(value, how)
    return ParsedScore(None, f"{value:g}, outside 0 to 1")
