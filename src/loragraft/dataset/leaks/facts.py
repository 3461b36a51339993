"""Whether two questions that look alike ask for the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from loragraft.dataset.leaks.words import STOP_WORDS

_CHOICES = (
    "yes no true false maybe unknown none both neither unclear unanswerable same equal higher "
    "lower increase decrease more less ja nein vielleicht oui non si sí sim não да нет"
)
CHOICES = frozenset(_CHOICES.split())
"""Answers that are chosen, not known: half of all questions share them."""
LABEL_SHARE, LABEL_LEAST, LABEL_MOST = 0.03, 3, 50
"""An answer that more records give (in share and number, or in number alone) is a label: it is
chosen, and stands in questions for other reasons."""
SHORT_NUMBER = 2
"""Digits of a number that stands in some question by chance."""


def says_much(answer: str) -> bool:
    """Say whether an answer, normalised, belongs to few questions: no choice, letter or count."""
    parts = [part for part in answer.split() if part not in STOP_WORDS and part not in CHOICES]
    if not parts:
        return False
    if len(parts) > 1:
        return True
    word = parts[0]
    if word.isdigit():
        return len(word) > SHORT_NUMBER
    return len(word) > 2 or not word.isascii()


def telling(answers: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return of each record the answers that belong to few questions, without articles.

    Args:
        answers: Of each record that has one true answer, normalised; of others none.
    """
    given = Counter(text for own in answers for text in set(own))
    asking = sum(bool(own) for own in answers)
    most = min(max(LABEL_LEAST, LABEL_SHARE * asking), LABEL_MOST)
    known = {text: bare(text.split()) for text in given if given[text] <= most and says_much(text)}
    return [tuple(known[text] for text in own if text in known) for own in answers]


def agree(first: Sequence[str], second: Sequence[str]) -> bool | None:
    """Say whether two records' telling answers agree; None where one of them has none.

    One may say more than the other: "412 K" and "412", "the north vent" and "vent".
    """
    if not first or not second:
        return None
    return any(f" {a} " in f" {b} " or f" {b} " in f" {a} " for a in first for b in second)


def bare(words: Iterable[str]) -> str:
    """Return words without articles and the like."""
    return " ".join(word for word in words if word not in STOP_WORDS)


def apart(first: frozenset[int], second: frozenset[int]) -> bool:
    """Say whether each question names something that the other does not.

    Where only one does, the other may leave out what is understood.
    """
    return bool(first - second) and bool(second - first)
