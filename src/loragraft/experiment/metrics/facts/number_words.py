"""Numbers in English words: ninety-five, one hundred and five, two thirds, three point five."""

from __future__ import annotations

import re
from fractions import Fraction

_TO_NINETEEN = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_DECADES = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONES = {word: value for value, word in enumerate(_TO_NINETEEN.split())}
_TENS = {word: 10 * value for value, word in enumerate(_DECADES.split(), 2)}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourths": 4,
    "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "seventh": 7, "sevenths": 7, "eighth": 8,
    "eighths": 8, "ninth": 9, "ninths": 9, "tenth": 10, "tenths": 10,
}  # fmt: skip
_WHOLE = [*_ONES, *_TENS, "hundred", *_LARGE, "dozen"]
WORDS = "|".join(
    sorted([*_WHOLE, *_PARTS, "point", "an?(?=[ -]+(?:hundred|thousand|million|billion|dozen|"
            "half|third|quarter|fifth|sixth|seventh|eighth|ninth|tenth)\\b)"], key=len,
           reverse=True)
)  # fmt: skip
"""Of a pattern: each word that a number may have."""
_WORD = re.compile(r"[A-Za-z]+")


def words_value(text: str) -> tuple[Fraction, int, bool] | None:
    """Return the number that a run of words begins with, its length, and whether it is a fraction.

    None where they are none: an ordinal alone (third), a word such as "point".
    """
    words = [(one[0].lower(), one.end()) for one in _WORD.finditer(text)]
    return _Reader(words).read()


class _Reader:
    """Reads words one after the other."""

    def __init__(self, words: list[tuple[str, int]]) -> None:
        self.words, self.at = words, 0

    def _now(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.words[place][0] if place < len(self.words) else ""

    def read(self) -> tuple[Fraction, int, bool] | None:
        """Read a number, and a fraction behind it."""
        if self._now() in _PARTS:  # half, but not: third
            return self._done(Fraction(1, 2), True, 1) if self._now() == "half" else None
        article = self._now() in ("a", "an")
        self.at += article
        if article and self._now() in _PARTS:
            return self._done(Fraction(1, _PARTS[self._now()]), True, 1)
        value = self._whole(article)
        if value is None:
            return None
        return self._behind(Fraction(value))

    def _behind(self, value: Fraction) -> tuple[Fraction, int, bool]:
        """Read what may follow a whole number: thirds, and a half, point five."""
        if self._now() in _PARTS and (self._now().endswith("s") or value == 1):
            return self._done(value / _PARTS[self._now()], True, 1)
        if self._now() == "and" and self._now(1) in ("a", "one") and self._now(2) in _PARTS:
            return self._done(value + Fraction(1, _PARTS[self._now(2)]), True, 3)
        if self._now() == "and" and self._now(1) == "half":
            return self._done(value + Fraction(1, 2), True, 2)
        if self._now() == "point" and _ONES.get(self._now(1), 10) < 10:
            return self._decimals(value)
        return self._done(value, False, 0)

    def _decimals(self, value: Fraction) -> tuple[Fraction, int, bool]:
        self.at += 1
        place = Fraction(1)
        while (digit := _ONES.get(self._now(), 10)) < 10:
            place /= 10
            value += digit * place
            self.at += 1
        return self._done(value, False, 0)

    def _done(self, value: Fraction, exact: bool, more: int) -> tuple[Fraction, int, bool]:
        self.at += more
        return value, self.words[self.at - 1][1], exact

    def _whole(self, article: bool) -> int | None:
        """Read a whole number: groups, each with its thousand or million, ever smaller ones."""
        total, last, begun = 0, 10**15, article
        while True:
            before = self.at
            group = self._group(1 if begun and not total and article else None)
            if group is None:
                break
            large = _LARGE.get(self._now())
            if large is None:
                return total + group if last > 1 else total
            if large >= last:
                self.at = before
                break
            total, last, begun = total + group * large, large, True
            self.at += 1
            if self._now() == "and" and self._now(1) in (*_ONES, *_TENS):
                self.at += 1
        return total if begun and total else None

    def _group(self, least: int | None) -> int | None:
        """Read a number below a thousand, or twelve hundred; ``least`` stands for an article."""
        value = self._below_hundred()
        if value is None:
            value = least if self._now() in ("hundred", "dozen", *_LARGE) else None
        if value is None:
            return None
        if self._now() == "dozen":
            self.at += 1
            return value * 12
        if self._now() == "hundred":
            self.at += 1
            more = self._now() == "and" and self._now(1) in (*_ONES, *_TENS)
            self.at += more
            value = value * 100 + (self._below_hundred() or 0)
        return value

    def _below_hundred(self) -> int | None:
        word = self._now()
        if word in _ONES:
            self.at += 1
            return _ONES[word]
        if word not in _TENS:
            return None
        self.at += 1
        one = _ONES.get(self._now(), 0)
        if 0 < one < 10:
            self.at += 1
            return _TENS[word] + one
        return _TENS[word]
