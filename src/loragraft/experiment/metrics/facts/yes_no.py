"""Whether an answer says yes or no."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from loragraft.experiment.metrics.facts.numerals import plain
from loragraft.experiment.metrics.facts.quantities import singular
from loragraft.experiment.metrics.facts.statements import cleaned, deciding, negations
from loragraft.experiment.metrics.facts.terms import terms
from loragraft.experiment.metrics.patterns import abstains

Polarity = Literal["yes", "no"]
RESTATED = 0.75
"""Of the question's words, how many a statement must hold to be the question's own, said again."""
_YESES = "yes yeah yep true correct indeed affirmative right definitely"
_NOES = "no nope false incorrect wrong never negative"
_YES, _NO = frozenset(_YESES.split()), frozenset(_NOES.split())
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_BOTH = re.compile(
    r"^\W*(?:yes\W+(?:and|or|but also)\W+no|no\W+(?:and|or|but also)\W+yes|yes\s*/\s*no|"
    r"yes\W+no|no\W+yes)\b(?!\s+(?:doubt|question))",
    re.IGNORECASE,
)
_LEADS = re.compile(
    r"^\W*(?:(?:so|thus|therefore|hence|well|in short|short answer)\b\W*)?"
    r"(?:(?:the answer|it|that|this|the statement|the claim) (?:is|would be|was)\W+)?"
    r"(?P<not>not\s+)?(?P<word>[a-z]+)\b(?!-)",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"^\W*not\b(?! (?:only|sure|certain|known|clear|necessarily|really))", re.IGNORECASE
)
_IDIOM = re.compile(r"^\W*no (?:doubt|question)\b", re.IGNORECASE)
_OF_WHAT = re.compile(
    r"^\W*(?:no|right|correct|true|wrong|false)\s+(?!it\b|he\b|she\b|they\b|the\b|there\b|this\b|"
    r"that\b|because\b|not\b|we\b|i\b)[a-z]",
    re.IGNORECASE,
)
_SMALL = (
    "a an the is are was were be been being do does did has have had can could will would shall "
    "should may might must of in on at to for by with from as and or it its this that there we you "
    "i he she they any one"
)
_QUESTION_WORDS = frozenset(_SMALL.split())


def polarity(accepted: Sequence[str]) -> Polarity | None:
    """Return what accepted answers say, if they say nothing but yes, or nothing but no."""
    said = {_plain(text) for text in accepted}
    if said and said <= {"yes", "true"}:
        return "yes"
    return "no" if said and said <= {"no", "false"} else None


def _plain(text: str) -> str:
    return text.strip(" .!").casefold()


def decide(answer: str, question: str) -> tuple[Polarity | None, str]:
    """Return what an answer says to a yes-no question, and how that was read.

    Its first statement decides: by a yes or no at its beginning; or else by saying the question
    again, with or without a negation more.
    """
    first = next(iter(deciding(cleaned(answer), question, 1)), "")
    if not first:
        return None, "it is empty"
    if _BOTH.match(first):
        return None, "it says yes and no"
    led = _led(first)
    if led is not None:
        return led, "it begins so"
    if abstains(first):
        return None, "it says that nobody knows"
    if _NOT.match(first):
        return "no", "it begins so"
    return _restated(first, question)


def _led(statement: str) -> Polarity | None:
    if _IDIOM.match(statement):
        return "yes"
    found = _LEADS.match(statement)
    if found is None:
        return None
    word = found["word"].lower()
    if word not in _YES | _NO or (word not in ("yes", "never") and _OF_WHAT.match(statement)):
        return None
    says_yes = (word in _YES) != bool(found["not"])
    return "yes" if says_yes else "no"


def _restated(statement: str, question: str) -> tuple[Polarity | None, str]:
    asked, said = _content(question), _content(statement)
    other = _numbers(question) - _numbers(statement)
    if not asked or other or len(asked & said) < RESTATED * len(asked):
        return None, "its first statement is neither a yes or no nor the question said again"
    same = (negations(statement) - negations(question)) % 2 == 0
    return ("yes" if same else "no"), "it says the question again"


def _numbers(text: str) -> frozenset[str]:
    return frozenset(term.word for term in terms(text) if term.word[:1].isdigit())


def _content(text: str) -> frozenset[str]:
    words = (word.lower() for word in _WORD.findall(plain(text)))
    return frozenset(
        _stem(word) for word in words
        if word not in _QUESTION_WORDS and word not in ("not", "no") and not word.endswith("n't")
    )  # fmt: skip


def _stem(word: str) -> str:
    """Return what is common to show, shows and showed."""
    word = singular(word)
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word.removesuffix(ending)
    return word.rstrip("e") if len(word) > 3 else word
