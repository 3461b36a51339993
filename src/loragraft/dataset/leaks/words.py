"""The words of a text as leaks compare them, and the names and numbers among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from zlib import crc32

from loragraft.dataset.near.normalise import normalise

_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana, Han
    "\U00020000-\U0003ffff"
)
_DIGIT = re.compile(r"\d")
_RUN = re.compile(f"[{_SPACELESS}]+")
_ABBREVIATED = r"(?<!\b[A-Z])(?<!\b[A-Z][a-z])"
_SENTENCE = re.compile(rf"(?:^|(?:{_ABBREVIATED}\.|[!?:\n\"\u201c(])\s*)\w+")
"""The first word of a sentence or of what is quoted; none begins behind "Dr." or "J."."""

_STOP = (
    "a an and any are as at be been but by can could did do does for from had has have how i if in "
    "into is it its many much no not of on or s so such than that the their them then there these "
    "they this those to under up was we were what when where which while who whom whose why will "
    "with would yes you your"
)
LONGEST = 20_000
"""Characters in which names are looked for."""

STOP_WORDS = frozenset(_STOP.split())
"""Words that stand in any English question. Other languages need none: rare words count most."""


def words(text: str) -> list[str]:
    """Return the words of a text in its order; of scripts without spaces, each two neighbours."""
    return split(normalise(text))


def split(plain: str) -> list[str]:
    """Return the words of a text that is normalised."""
    if plain.isascii():
        return plain.split()
    return _RUN.sub(lambda run: f" {' '.join(_neighbours(run[0]))} ", plain).split()


def _neighbours(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]


def number_of(word: str) -> int:
    """Return 32 bits that stand for a word, the same on every machine.

    A final s goes, so that "melts" is "melt" and an alloy one of the alloys.
    """
    if len(word) > 3 and word[-1] == "s" and word[-2] not in "su":
        word = word[:-1]
    return crc32(word.encode("utf-8", "surrogatepass"))


def drawn_by(number: int) -> int:
    """Return what decides which words of a long text are kept: nothing of their meaning."""
    return number * 0x9E3779B1 & 0xFFFFFFFF


def numbers(found: Iterable[str]) -> frozenset[int]:
    """Return hashes of those words that have digits."""
    return frozenset(number_of(word) for word in found if _DIGIT.search(word))


def names(text: str) -> frozenset[int]:
    """Return numbers of what a question is about by name: names, numbers, formulas.

    A word with a digit, or with a capital anywhere but at the beginning of a sentence; of an
    endless text, in its beginning.
    """
    text = text[:LONGEST]
    begins = {found.end() for found in _SENTENCE.finditer(text)}
    found: set[int] = set()
    for word in re.finditer(r"[\w.\-]+", text):
        body = word[0].strip(".-")
        marked = any(c.isdigit() for c in body) or any(c.isupper() for c in body[1:])
        if marked or (body[:1].isupper() and not _begins(word, begins)):
            found.update(number_of(w) for w in words(body) if w not in STOP_WORDS)
    return frozenset(found)


def _begins(word: re.Match[str], begins: set[int]) -> bool:
    first = re.match(r"\w+", word[0])
    return first is not None and word.start() + first.end() in begins
