"""What an answer says first, and what it denies."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from loragraft.experiment.metrics.facts.numerals import plain
from loragraft.experiment.metrics.patterns import abstains
from loragraft.rag.chunking.sentences import sentence_starts

DECIDING = 2
"""Sentences of an answer that decide: who names ten candidates in ten sentences names none."""
LONGEST = 1200
"""Characters of these sentences that are read."""

_MARKUP = re.compile(r"[*`#>]+|(?<!\w)_+|_+(?!\w)")
_BULLET = re.compile(r"^[ \t]*(?:[-•·+]|\(?\d{1,2}[.)])[ \t]+(?=\S)", re.MULTILINE)
_LEAD_IN = re.compile(
    r"^\s*(?:sure|certainly|of course|okay|ok|(?:great|good) question|here(?: i|'|)s the answer)"
    r"(?:[!.:]|,(?= here))\s+(?=\S)",
    re.IGNORECASE,
)
_FINAL = re.compile(
    r"(?:\b(?:final |short |correct )?answer(?: to (?:the|this|your) question)?(?: is)?\s*:"
    r"|\b(?:final |correct )answer is\b|\bthe answer(?: to (?:the|this|your) question)? is\b)\s*",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(
    r"[,;:.!?()\[\]\n]|\s-+\s|\b(?:but|however|although|though|whereas|while|yet|because|since|"
    r"which|who)\b|\band (?=(?:was|were|is|are|has|have|had|it|they|then|so|not)\b)",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"\bnot\b|n't\b|\bno\b(?!\.\s?\d)|\bnever\b|\bneither\b|\bnor\b|\bnone\b|\bcannot\b|\bhardly\b|"
    r"\bwithout\b",
    re.IGNORECASE,
)
_NO_DENIAL = re.compile(
    r"\bnot (?:only|just|merely|simply|until|to mention)\b|\bno (?:doubt|later|earlier|sooner|"
    r"longer than|more than|less than|fewer than)\b|\bwhether or not\b|\bnot (?:more|less) than\b",
    re.IGNORECASE,
)
_CONTRAST = re.compile(
    r"\b(?:than|rather than|instead of|unlike|compared (?:to|with)|in contrast to|versus|vs\.?|"
    r"as opposed to|against|except(?: for)?|other than|apart from|excluding)\s+"
    r"(?:(?:about|around|the|a|an|by|with|of|in|to|for|that of|only)\s+)*(?:\w+\s+)?$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\s*(?:\w+\s+){0,2}?(?:(?:was|were|is|are|did|does|do|has|have|had|can|could|will|would|"
    r"should|may|might|must)(?:\s+(?:not(?! only)|never)\b|n't\b)|can(?:no|')t\b|"
    r"(?:is|was|are|were) (?:wrong|incorrect|false|ruled out|excluded)\b)",
    re.IGNORECASE,
)


def cleaned(text: str) -> str:
    """Return an answer without Markdown and without a lead-in such as "Sure!"."""
    bare = _MARKUP.sub("", plain(text)).strip()
    return _LEAD_IN.sub("", bare)


def deciding(text: str, question: str = "", count: int = DECIDING) -> list[str]:
    """Return the sentences of an answer that decide whether it is right.

    What stands behind "the answer is" decides, where that is said; else the first sentences that
    are no question.

    Args:
        text: The answer, as :func:`cleaned` makes it.
        question: An echo of it at the beginning is passed over.
        count: How many sentences.
    """
    text = text.removeprefix(plain(question).strip()).strip() if question else text
    final = list(_FINAL.finditer(text))
    if final and text[final[-1].end() :].strip():
        text = text[final[-1].end() :]
    found = [one for one in sentences(text[: 4 * LONGEST]) if not one.endswith("?")]
    return [one[:LONGEST] for one in found[:count]]


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text; a line's end is a sentence's."""
    for line in _BULLET.sub("", text).splitlines():
        starts = [0, *sentence_starts(line, 0, len(line)), len(line)]
        for start, stop in itertools.pairwise(starts):
            sentence = line[start:stop].strip()
            if any(letter.isalnum() for letter in sentence):
                yield sentence


def bullets(text: str) -> list[str]:
    """Return what stands in a list's lines."""
    return [line[found.end() :].strip() for line in text.splitlines()
            if (found := _BULLET.match(line))]  # fmt: skip


def clause_before(text: str, start: int) -> str:
    """Return what stands before a place, back to where its clause begins."""
    begun = 0
    for found in _CLAUSE_END.finditer(text, 0, start):
        if not _inside_number(text, found.start()):
            begun = found.end()
    return text[begun:start]


def _inside_number(text: str, place: int) -> bool:
    return text[place - 1 : place].isdigit() and text[place + 1 : place + 2].isdigit()


def denied(text: str, start: int, stop: int) -> bool:
    """Whether a statement denies what stands at a place, or sets it against the answer."""
    before = clause_before(text, start)
    if _DENIAL.search(_NO_DENIAL.sub(" ", before)) or abstains(before):
        return True
    if _CONTRAST.search(text[max(0, start - 60) : start]):
        return True
    return _DENIED_AFTER.match(text, stop) is not None


def negations(text: str) -> int:
    """Return how often a statement says no."""
    return len(_DENIAL.findall(_NO_DENIAL.sub(" ", text)))
