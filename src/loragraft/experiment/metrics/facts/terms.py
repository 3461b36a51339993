"""Names and phrases in running text, found whatever their case, articles, hyphens and plurals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from loragraft.experiment.metrics.facts.numerals import find_numbers, plain
from loragraft.experiment.metrics.facts.quantities import singular

_SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff"
_WORD = re.compile(rf"[{_SPACELESS}]|(?:(?![{_SPACELESS}_])\w)+(?:'(?:(?![{_SPACELESS}_])\w)+)*")
_ACCENTS = re.compile("[\u0300-\u036f]")
_ARTICLES = frozenset(("a", "an", "the"))


@dataclass(frozen=True)
class Term:
    """A word of a text, made comparable.

    Attributes:
        word: In small letters, singular, without accents and apostrophes; digits for a number.
        start: Where it begins.
        stop: One past its end.
    """

    word: str
    start: int
    stop: int


@dataclass(frozen=True)
class Mention:
    """A phrase in a text."""

    start: int
    stop: int
    words: int


def terms(text: str) -> list[Term]:
    """Return the words of a text without articles; numbers however they are written."""
    clean = plain(text)
    numbers = {number.start: number for number in find_numbers(clean)}
    found: list[Term] = []
    at = 0
    for one in _WORD.finditer(clean):
        if one.start() < at:
            continue
        number = numbers.get(one.start())
        if number is not None:
            found.append(Term(str(number.value), number.start, number.stop))
            at = number.stop
        elif (word := _fold(one[0])) not in _ARTICLES:
            found.append(Term(word, one.start(), one.end()))
    return found


def _fold(word: str) -> str:
    word = unicodedata.normalize("NFKC", word).casefold()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", word)).replace("'", "")
    return singular(unicodedata.normalize("NFC", bare))


def mentions(text: Sequence[Term], phrase: Sequence[Term]) -> list[Mention]:
    """Return where a phrase stands in a text, word by word."""
    count = len(phrase)
    if not count:
        return []
    words, wanted = [term.word for term in text], [term.word for term in phrase]
    return [
        Mention(text[at].start, text[at + count - 1].stop, count)
        for at in range(len(words) - count + 1)
        if words[at : at + count] == wanted
    ]


def longest(found: Sequence[Mention]) -> list[Mention]:
    """Return mentions in their order, of those that overlap the longest."""
    kept: list[Mention] = []
    for one in sorted(found, key=lambda each: (-each.words, each.start)):
        if all(one.stop <= other.start or one.start >= other.stop for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda each: each.start)
