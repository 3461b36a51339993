"""Answers made comparable as SQuAD does, without citations."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from loragraft.experiment.records import Sample

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)
_SPACE = re.compile(r"[ \t]+")
_BEFORE_MARK = re.compile(r"[ \t]+(?=[.,;:!?](?:\s|$))")


def plain_answer(sample: Sample) -> str:
    """Return a sample's answer without its citations: they are no words of it."""
    text, at = [], 0
    spans = sorted(_span(one.get("start"), one.get("stop")) for one in sample.citations)
    for start, stop in spans:
        if start >= at and stop <= len(sample.answer):
            text.append(sample.answer[at:start])
            at = stop
    text.append(sample.answer[at:])
    joined = _SPACE.sub(" ", " ".join(text) if spans else text[0])
    return _BEFORE_MARK.sub("", joined).strip()


def _span(start: object, stop: object) -> tuple[int, int]:
    if type(start) is int and type(stop) is int and 0 <= start < stop:
        return start, stop
    return 0, 0


def normalise_answer(text: str) -> str:
    """Return a text in small letters without punctuation, articles and doubled spaces.

    As the evaluation script of SQuAD 1.1 (Rajpurkar et al. 2016, arXiv 1606.05250).
    """
    bare = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """Return 1 where an answer equals one that is accepted, both normalised; else 0."""
    ours = normalise_answer(answer)
    return float(any(ours == normalise_answer(text) for text in accepted))


def token_f1(answer: str, accepted: Sequence[str]) -> float:
    """Return the best harmonic mean of precision and recall of words, over accepted answers."""
    return max((_f1(answer, text) for text in accepted), default=0.0)


def _f1(answer: str, accepted: str) -> float:
    ours, theirs = normalise_answer(answer).split(), normalise_answer(accepted).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    if not common:
        return 0.0
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)
