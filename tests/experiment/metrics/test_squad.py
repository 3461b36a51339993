"""Exact match and token F1 by hand, and against the script of SQuAD read independently."""

from __future__ import annotations

import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.metrics.squad import (
    exact_match,
    normalise_answer,
    plain_answer,
    token_f1,
)
from tests.support.answers import cite, sample

WORDS = st.lists(st.sampled_from(["a", "The", "red", "Fox,", "fox", "ran!", "home", "é"]))
TEXTS = WORDS.map(" ".join) | st.text(max_size=30)


def squad_f1(prediction: str, truth: str) -> float:
    """As evaluate-v1.1.py says it, in other words."""

    def tokens(text: str) -> list[str]:
        kept = "".join(c for c in text.lower() if c not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", kept).split()

    ours, theirs = tokens(prediction), tokens(truth)
    same = sum((Counter(ours) & Counter(theirs)).values())
    if not ours or not theirs:
        return float(ours == theirs)
    if same == 0:
        return 0.0
    p, r = same / len(ours), same / len(theirs)
    return 2 * p * r / (p + r)


@pytest.mark.parametrize(
    ("answer", "accepted", "exact", "f1"),
    [
        ("The red fox.", ["red fox"], 1.0, 1.0),
        ("red fox ran", ["the red fox"], 0.0, 0.8),  # p 2/3, r 2/2
        ("blue", ["red fox"], 0.0, 0.0),
        ("fox fox", ["fox"], 0.0, 2 / 3),  # p 1/2, r 1
        ("red", ["blue", "Red!"], 1.0, 1.0),
        ("", ["red"], 0.0, 0.0),
        ("the", ["an"], 1.0, 1.0),  # nothing is left of both
    ],
)
def test_by_hand(answer: str, accepted: list[str], exact: float, f1: float) -> None:
    assert exact_match(answer, accepted) == exact
    assert token_f1(answer, accepted) == pytest.approx(f1)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_as_squad(answer: str, accepted: list[str]) -> None:
    assert token_f1(answer, accepted) == max(squad_f1(answer, one) for one in accepted)
    assert (exact_match(answer, accepted) == 1.0) == (
        normalise_answer(answer) in {normalise_answer(one) for one in accepted}
    )


def test_citations_are_no_words() -> None:
    answer = "It was red [P1][P2], says [P3]."
    cites = tuple(cite(answer, f"[P{n}]", f"P{n}") for n in (1, 2, 3))
    assert plain_answer(sample(answer, citations=cites)) == "It was red, says."


def test_citations_out_of_place_are_passed_over() -> None:
    odd: tuple[dict[str, object], ...] = (
        {"start": -1, "stop": 3},
        {"start": 2, "stop": 90},
        {"start": "0", "stop": True},
        {},
    )
    assert plain_answer(sample("red fox", citations=odd)) == "red fox"
