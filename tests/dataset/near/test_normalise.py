"""What stays of a text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.dataset.near.normalise import exact_key, normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The kiln reached 1,240 °C.", "the KILN reached 1,240 °c!!"),
        ("Don't move the glass", "Don\u2019t  move\tthe glass"),
        ("caf\u00e9 au lait", "cafe\u0301 au lait"),
        ("Tom &amp; Ida", "Tom & Ida"),
        ("look https://example.org/a?b=1 here", "look here"),
        ("see www.example.org", "See:"),
        ("great news \U0001f389\U0001f389", "Great news"),
        ("in\u200bvisible", "invisible"),
        ("caf\u00e9", "cafe\u200d\u0301"),
        ("\uff26\uff35\uff2c\uff2c width", "full width"),
        ("Stra\u00dfe", "STRASSE"),
        ("minus \u22125 degrees", "minus -5 degrees"),
        ("a \u201cquoted\u201d 'word'", 'a "quoted" word'),
    ],
)
def test_what_does_not_change_the_meaning_goes(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert exact_key(one) == exact_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("it fell by 1.5 m", "it fell by 15 m"),
        ("it was -5 outside", "it was 5 outside"),
        ("it was -.5 outside", "it was .5 outside"),
        ("p = .05", "p = 05"),
        ("p < 0.05", "p > 0.05"),
        ("a share of 5%", "a share of 5"),
        ("it costs $5", "it costs \u20ac5"),
        ("written in C", "written in C++"),
        ("r\u00e9sum\u00e9", "resume"),
    ],
)
def test_what_changes_the_meaning_stays(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def test_texts_of_signs_alone_are_not_all_the_same() -> None:
    texts = ["!!!", "...", "\U0001f389", "\U0001f680", "https://example.org/a"]

    assert len({normalise(text) for text in texts}) == len(texts)
    assert normalise(" \t\n") == "" == normalise("")


def test_keys_are_the_same_everywhere() -> None:
    assert exact_key("The kiln reached 1,240 °C.").hex() == "cbf17648803638ca9cef4f706c4b543f"


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "Z"))))
def test_spelling_in_unicode_and_blanks_do_not_count(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)

    assert normalise(unicodedata.normalize("NFD", text)) == normalise(composed)
    assert normalise(f"  {text}\n") == normalise(text)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_has_a_key(text: str) -> None:
    assert len(exact_key(text)) == 16
    normalise(text).encode("utf-8")
