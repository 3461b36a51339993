"""A text as the overlap test reads it: its words in sentences and clauses."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from loragraft.experiment.metrics.grounding.lexicon import (
    FUNCTION_WORDS,
    IRREGULAR,
    NEGATORS,
    SOFT_WORDS,
)
from loragraft.rag.chunking.sentences import sentence_starts

MOST_CHARACTERS = 20_000
"""Of a claim or passage that are read: a chunk is a tenth of it."""
_WORD = re.compile(
    r"\d+(?:[.,:]\d+)*|[^\W\d_]+-?\d[\w-]*|[%€$£¥]|°\s?[CF]\b|[µμ]?[^\W\d_]+(?:['’\-][^\W\d_]+)*(?:/[^\W\d_]+[²³]?)?"  # noqa: RUF001
)
_CLAUSE = re.compile(
    r"[,;:()–—](?=\s|$)|\s(?=(?:and|but|whereas|while|although|though|because|which|who|when|where|"  # noqa: RUF001
    r"unless|und|aber|sondern|obwohl|weil|et|mais)\s)"
)
_NO_INITIAL = re.compile(
    r"(?<!\w)[A-Z](?=\.\s+(?:The|A|An|In|On|At|It|Its|He|She|They|This|These|That|No|Not|If|When|"
    r"For|But|And|There|Each|All|Some|Both|As|By|From|Since|To|We|You)\s)"
)
_SUFFIXES = ("ations", "ation", "ments", "ment", "nesses", "ness", "ingly", "edly", "ings", "ing",
             "ies", "ied", "ed", "ers", "es", "ly", "s", "e", "y")  # fmt: skip


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return the part of a word that its forms share: "harvested" and "harvests" are "harvest".

    A rough one: what two words share by chance is seldom in the same passage.
    """
    word = word.replace("’", "'").removesuffix("'s")  # noqa: RUF001
    if not word.isalpha():
        return word
    word = IRREGULAR.get(word, word)
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeioul":
        word = word[:-1]
    return word


@dataclass(frozen=True)
class Word:
    """One word or number of a text.

    Attributes:
        text: In small letters.
        stem: Shared by its forms.
        start: Where it stands.
        stop: One past its end.
        sentence: Number of its sentence.
        clause: Number of its clause, over the whole text.
        name: Whether it has a capital, but not for beginning a sentence.
    """

    text: str
    stem: str
    start: int
    stop: int
    sentence: int
    clause: int
    name: bool

    def shown(self, reading: Reading) -> str:
        """Return it as it is written in its text."""
        return reading.text[self.start : self.stop]

    @property
    def number(self) -> bool:
        """Whether it is written in digits."""
        return self.text[0].isdecimal()

    @property
    def content(self) -> bool:
        """Whether it carries content: no function word, no negation."""
        return self.text not in FUNCTION_WORDS and self.text not in NEGATORS

    @property
    def hard(self) -> bool:
        """Whether another word in its place says something else."""
        return self.content and self.text not in SOFT_WORDS and not self.number


@dataclass(frozen=True)
class Reading:
    """A text with its words, or with some of them.

    Attributes:
        text: All of it.
        words: Those that count here.
    """

    text: str
    words: tuple[Word, ...]

    @cached_property
    def content(self) -> tuple[Word, ...]:
        """Words with content."""
        return tuple(word for word in self.words if word.content)

    @cached_property
    def stems(self) -> frozenset[str]:
        """Stems of the words with content."""
        return frozenset(word.stem for word in self.content)

    @cached_property
    def plain(self) -> frozenset[str]:
        """All words as they are written, in small letters."""
        return frozenset(word.text for word in self.words)

    @cached_property
    def _by_sentence(self) -> dict[int, tuple[Word, ...]]:
        runs = itertools.groupby(self.content, key=lambda word: word.sentence)
        return {number: tuple(words) for number, words in runs}

    def until(self, sentence: int, clause: int) -> Iterator[Word]:
        """Yield the words with content of a sentence, up to the end of a clause."""
        words = self._by_sentence.get(sentence, ())
        return (word for word in words if word.clause <= clause)

    @cached_property
    def clauses(self) -> tuple[Reading, ...]:
        """Its clauses, in order."""
        runs = itertools.groupby(self.words, key=lambda word: word.clause)
        return tuple(Reading(self.text, tuple(words)) for _, words in runs)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the sentences of a text stand; a line ends one."""
    # "in pump B. No …": what looks like an initial is none before a function word.
    marked = _NO_INITIAL.sub(lambda found: found[0].lower(), text)
    for line in re.finditer(r"[^\n]+", text):
        begins = [line.start(), *sentence_starts(marked, *line.span()), line.end()]
        for begin, end in itertools.pairwise(begins):
            if text[begin:end].strip():
                yield begin, end


@lru_cache(maxsize=1024)
def read(text: str, most: int = MOST_CHARACTERS) -> Reading:
    """Read a text, or as much of its beginning."""
    text = text[:most]
    words: list[Word] = []
    clause = -1
    for number, (begin, end) in enumerate(sentences(text)):
        borders = [begin, *(found.end() for found in _CLAUSE.finditer(text, begin, end)), end]
        for start, stop in itertools.pairwise(borders):
            found = list(_WORD.finditer(text, start, stop))
            clause += bool(found)
            words += (_word(one, number, clause, first=one.start() == begin) for one in found)
    return Reading(text, tuple(words))


def _word(found: re.Match[str], sentence: int, clause: int, *, first: bool) -> Word:
    name = found[0][0].isupper() and not first
    lone = name and len(found[0]) == 1  # "pump A" is no article
    text = found[0] if lone else found[0].casefold()
    return Word(text, stem(text), *found.span(), sentence, clause, name)
