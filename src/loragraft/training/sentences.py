"""The words of an answer: the sentence that a document answers with, or the bare answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from loragraft.rag.answering.numbering import label
from loragraft.rag.chunking.sentences import sentence_starts

LONGEST = 400
"""Characters of a sentence; what is longer is a list or a table, and no answer."""
VERDICTS = frozenset(("yes", "no", "true", "false"))
"""Answers that stand in a sentence by chance only: "no" in "no primer was used"."""
_FUNCTION_WORDS = """
    a after all an another as at before both by during each for from her his if in it its many
    most no none nothing of on one our she some that the their there these they this those to
    under until we what when where which while who with without
"""
SMALL = frozenset(_FUNCTION_WORDS.split())
"""First words of sentences that begin with a small letter behind a colon: no names among them."""
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_MARKS = ".!?。！？…"  # noqa: RUF001


def holds(text: str, answers: Iterable[str]) -> bool:
    """Tell whether a text holds one of the answers as words of their own."""
    return any(_find(text, answer) is not None for answer in answers)


def telling(answers: Sequence[str]) -> list[str]:
    """Return those of the answers that a text cannot hold by chance."""
    return [answer for answer in answers if answer.strip().casefold() not in VERDICTS]


def gold_sentence(text: str, start: int, stop: int, answers: Sequence[str]) -> str | None:
    """Return the sentence that answers, within a span of a document.

    Args:
        text: The document's.
        start: First character of the evidence.
        stop: One past its last.
        answers: Those that count as right; the first that is found decides. Where they are
            verdicts the evidence itself must be a sentence, or a part of one.

    Returns:
        One line, or None: no answer stands there, or the sentence is too long.
    """
    if is_verdict(answers):
        first, last = _sentence(text, start, (start, stop))
        found = " ".join(text[first:last].split())
        return found if stop <= last and len(found) <= LONGEST else None
    for answer in answers:
        at = _find(text[start:stop], answer)
        if at is not None:
            first, last = _sentence(text, start + at, (start, stop))
            found = " ".join(text[first:last].split())
            return found if len(found) <= LONGEST and holds(found, [answer]) else None
    return None


def is_verdict(answers: Sequence[str]) -> bool:
    """Tell whether a question is answered by yes or no."""
    return len(telling(answers)) < len(answers)


def answer_first(
    question: str, answers: Sequence[str], sentence: str, *, compares: bool = False
) -> str:
    """Return a sentence, behind the answer itself where that could be overlooked in it.

    A verdict does not stand in the sentence at all; of things that the question names, the
    sentence mostly names the others too.

    Args:
        question: As it is asked.
        answers: Those that count as right, the best one first.
        sentence: That answers.
        compares: Whether the sentence names several things though the question names none.
    """
    named = next((answer for answer in answers if holds(question, [answer])), None)
    lead = answers[0] if compares or is_verdict(answers) else named
    if lead is None:
        return sentence
    first = sentence.split(" ", 1)[0]
    if first.casefold() in SMALL:
        sentence = sentence[0].lower() + sentence[1:]
    return f"{capital(lead).rstrip(_MARKS)}: {sentence}"


def bare(answer: str) -> str:
    """Return an answer as a sentence of its own."""
    text = capital(answer)
    return text if text[-1:] in _MARKS else f"{text}."


def capital(answer: str) -> str:
    """Return an answer in one line with a capital first, unless its first word has one.

    "pH 7" and "m/s" stay as they are.
    """
    text = " ".join(answer.split())
    word = re.match(r"[^\W\d_]+", text)
    if word is not None and len(word[0]) > 1 and word[0].islower() and word[0].isascii():
        text = text[0].upper() + text[1:]
    return text


def with_citation(sentence: str, numbers: Sequence[int]) -> str:
    """Return a sentence with the labels of its passages before its end."""
    marks = "".join(f"[{label(number)}]" for number in sorted(numbers))
    if sentence[-1:] in _MARKS:
        words, end = sentence.rstrip(_MARKS), sentence[len(sentence.rstrip(_MARKS)) :]
        return f"{words.rstrip()} {marks}{end}"
    return f"{sentence} {marks}."


def _find(text: str, answer: str) -> int | None:
    words = answer.split()
    if not words:
        return None
    spaced = r"\s+".join(re.escape(word) for word in words)
    found = re.search(rf"(?<!\w)(?<!\d[.,]){spaced}(?!\w)(?![.,]\d)", text, re.IGNORECASE)
    return None if found is None else found.start()


def _sentence(text: str, at: int, evidence: tuple[int, int]) -> tuple[int, int]:
    """Return where the sentence around a place begins and ends, within its paragraph.

    Where the evidence begins or ends as a sentence does, one begins or ends there.
    """
    breaks = [(found.start(), found.end()) for found in _PARAGRAPHS.finditer(text)]
    first = max((stop for _, stop in breaks if stop <= at), default=0)
    last = min((start for start, _ in breaks if start > at), default=len(text))
    borders = {first, *sentence_starts(text, first, last), last}
    start, stop = evidence
    if first < start and text[:start].rstrip()[-1:] in _MARKS:
        borders.add(start)
    if stop < last and text[stop - 1] in _MARKS:
        borders.add(stop)
    return next((one, two) for one, two in pairwise(sorted(borders)) if one <= at < two)
