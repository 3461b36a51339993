"""Whether two questions that look alike ask for the same."""

from __future__ import annotations

from collections.abc import Sequence

from loragraft.dataset.leaks.words import STOP_WORDS

_CHOICES = (
    "yes no true false maybe unknown none both neither unclear unanswerable same equal higher "
    "lower increase decrease more less ja nein vielleicht oui non si sí sim não да нет"
)
CHOICES = frozenset(_CHOICES.split())
"""Answers that are chosen, not known: half of all questions share them."""
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


def share_answer(first: Sequence[str], second: Sequence[str]) -> bool | None:
    """Say whether two records' answers agree; None where answers tell nothing.

    One may say more than the other: "412 K" and "412", "the north vent" and "vent".
    """
    mine, others = ([_bare(a) for a in answers if says_much(a)] for answers in (first, second))
    if not mine or not others:
        return None
    return any(f" {a} " in f" {b} " or f" {b} " in f" {a} " for a in mine for b in others)


def _bare(answer: str) -> str:
    return " ".join(word for word in answer.split() if word not in STOP_WORDS)


def names_apart(first: frozenset[int], second: frozenset[int]) -> bool:
    """Say whether each names something that the other does not.

    Where only one does, the other may leave out what is understood.
    """
    return bool(first - second) and bool(second - first)
