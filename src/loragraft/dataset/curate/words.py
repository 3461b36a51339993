"""Texts as words: what is counted, and what is looked for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

_INVISIBLE = {code: None for code in (
    0x00AD, 0x034F, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
    *range(0x2060, 0x2065), *range(0x2066, 0x206A), 0xFEFF,
)}  # fmt: skip
"""Characters without a shape, which spam puts into words so that lists miss them."""
_QUOTES = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2018": "'"})

_NO_WORDS = re.compile(r"(?:https?://|\bwww\.)\S+|(?<!\w)@\w+")
"""Links and mentions."""
_MAYBE_NO_WORDS = ("@", "://", "www.")
"""One of these stands in every text that has any: looking for them is quick."""
_ALONE = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, Kana and Han write no blanks between words: each character counts as one."""
_WORD = re.compile(rf"[{_ALONE}]|[^\W\d_{_ALONE}](?:[^\W_{_ALONE}]|'(?=[^\W_]))*")
_TOKEN = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}](?:[^\W_{_ALONE}]|'(?=[^\W_]))*")

_URL = re.compile(
    r"https?://\S+|\bwww\.\S+"
    r"|(?<![\w@.-])(?:[a-z0-9-]{1,63}\.){1,4}(?:(?:com|net|org)\b(?:/\S*)?|[a-z]{2,10}/\S*)",
    re.IGNORECASE,
)
"""Links, also without a scheme where a path or one of the three oldest endings says so:
"end.So" is a missing blank."""
_MAYBE_URL = re.compile(r"[.:][^\s.]")

_LONGEST_KEPT, _KEPT = 4_096, 2_048
"""Texts up to so many characters, and so many of them, whose words are kept: several rules look at
the texts of one batch, one after the other."""


def plain(text: str) -> str:
    """Return a text without case, compatibility forms and invisible characters."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", text).translate(_INVISIBLE).translate(_QUOTES)
    return text.casefold()


def words_of(text: str) -> Sequence[str]:
    """Return a text's words without links, mentions and bare numbers."""
    return _kept_words(text) if len(text) <= _LONGEST_KEPT else _words(text)


def _words(text: str) -> tuple[str, ...]:
    text = plain(text)
    if any(mark in text for mark in _MAYBE_NO_WORDS):
        text = _NO_WORDS.sub(" ", text)
    return tuple(_WORD.findall(text))


_kept_words = lru_cache(_KEPT)(_words)


def tokens_of(text: str) -> list[str]:
    """Return words and numbers, to be compared one by one."""
    return _TOKEN.findall(plain(text))


def urls_of(text: str) -> list[str]:
    """Return the links of a text."""
    if not _MAYBE_URL.search(text):
        return []
    return [match.group() for match in _URL.finditer(text)]


class Phrases:
    """Finds phrases among words."""

    def __init__(self, phrases: Iterable[str]) -> None:
        """Take phrases; case and punctuation do not count."""
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for phrase in phrases:
            words = tuple(words_of(phrase))
            if words:
                self._by_first.setdefault(words[0], []).append(words)

    def share(self, words: Sequence[str]) -> float:
        """Return the share of words that stand in a phrase; 1 where there are no words."""
        words = tuple(words)
        covered = [False] * len(words)
        for start, word in enumerate(words):
            for phrase in self._by_first.get(word, ()):
                stop = start + len(phrase)
                if words[start:stop] == phrase:
                    covered[start:stop] = [True] * len(phrase)
        return sum(covered) / len(words) if words else 1.0


class Keywords:
    """Finds words and phrases of a list in a text.

    A term begins and ends where a word does; blanks in it stand for any; ``*`` at its end takes
    every ending.
    """

    def __init__(self, terms: Iterable[str]) -> None:
        """Take the terms."""
        parts = {_term(plain(term).strip()) for term in terms}
        self._pattern = re.compile("|".join(sorted(parts, key=lambda part: (-len(part), part))))

    def find(self, text: str) -> Iterator[str]:
        """Yield what is found, from left to right, nothing twice at one place."""
        text, start = plain(text), 0
        while match := self._pattern.search(text, start):
            # Asked here and not in the pattern, which finds its first letters faster like this.
            first = match.start()
            if first and _is_of_word(text[first]) and _is_of_word(text[first - 1]):
                start = first + 1
            else:
                yield match.group()
                start = match.end()


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _term(term: str) -> str:
    open_end = term.endswith("*")
    term = term.rstrip("*")
    body = r"\s+".join(re.escape(word) for word in term.split())
    after = r"\w*" if open_end else r"(?!\w)" if term[-1:].isalnum() else ""
    return f"{body}{after}"


def stands_in(inner: str, outer: str) -> bool:
    """Whether a text's words stand in another's, in their order and next to each other."""
    needle, hay = (f" {' '.join(tokens_of(text))} " for text in (inner, outer))
    return bool(needle.strip()) and needle in hay
