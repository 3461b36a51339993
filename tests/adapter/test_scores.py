"""Scores in what models write: read where they stand, refused where they do not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.adapter.scores import parse_score

READ = {
    "0.7": 0.7,
    " .7 ": 0.7,
    "1": 1.0,
    "0": 0.0,
    "0.70.": 0.7,
    "0,85": 0.85,
    "7e-1": 0.7,
    "85%": 0.85,
    "85 percent": 0.85,
    "7/10": 0.7,
    "0.8/1": 0.8,
    "3 out of 4": 0.75,
    "Score: 0.3": 0.3,
    "**Score:** 0.3": 0.3,
    '{"score": 0.3, "reason": "2 insults"}': 0.3,
    "Rule 1 is broken in 2 places. Final score: 0.9": 0.9,
    "Score: 0.2. On reflection, the final answer is 0.4": 0.4,
    "On a scale from 0 to 1, I would say 0.6.": 0.6,
    "(0-1) 0.6": 0.6,
    "[0, 1]: 0.25": 0.25,
    "<think>Maybe 0.2 or 0.9?</think>0.5": 0.5,
    "0.9 because two of 3 words are insults": 0.9,
    "0.5 0.5": 0.5,
    "\uff10.\uff15": 0.5,
    "1. The comment is rude.\nScore: 0.8": 0.8,
}

REFUSED = {
    "": "nothing",
    "   \n": "nothing",
    "No.": "no number",
    "nan": "no number",
    "85": "outside",
    "-0.2": "outside",
    "\N{MINUS SIGN}0.2": "outside",
    "Score: 7": "outside",
    "150%": "outside",
    "0.2 to 0.4": "different numbers",
    "0.2-0.4": "different numbers",
    "either 0.2 or 0.4": "different numbers",
    "<think>0.3": "nothing",
    "v2x": "no number",
    "3/0": "no number",
}


@pytest.mark.parametrize("text", READ)
def test_a_score_is_read(text: str) -> None:
    assert parse_score(text).value == pytest.approx(READ[text])


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_score_is_refused_with_a_reason(text: str) -> None:
    found = parse_score(text)
    assert found.value is None
    assert REFUSED[text] in found.reason


@settings(deadline=None)
@given(st.floats(0, 1).map(lambda value: round(value, 6)))
def test_every_plain_number_comes_back(value: float) -> None:
    assert parse_score(f"{value:.6f}").value == pytest.approx(value)
    assert parse_score(f"Score: {value:.6f}").value == pytest.approx(value)


@settings(deadline=None)
@given(st.text(alphabet="0123456789.,/%-+e <>thinkscore:[]() \n", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    value = parse_score(text).value
    assert value is None or 0 <= value <= 1
