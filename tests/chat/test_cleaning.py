"""No text of a model may move the cursor, change the title or hide what it says."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.chat.cleaning import clean, clean_json

ANY = st.text(st.characters(codec=None))


@given(ANY)
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    left = {c for c in clean(text) if unicodedata.category(c) in ("Cc", "Cs")}
    assert left <= {"\n", "\t"}
    clean(text).encode()  # and nothing that cannot be written


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@given(st.text(), st.text())
def test_pieces_give_what_the_whole_gives(first: str, second: str) -> None:
    if not (first.endswith("\r") and second.startswith("\n")):
        assert clean(first) + clean(second) == clean(first + second)


@given(st.text())
def test_cleaned_json_means_the_same(text: str) -> None:
    line = clean_json(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(line) == {"text": text}
    assert "\x9b" not in line


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x1b[2Jgone", "␛[2Jgone"),
        ("\x9b31mred", "\\u009b31mred"),
        ("abc\rxyz", "abc␍xyz"),
        ("a\r\nb", "a\nb"),
        ("evil\u202etxt", "evil\\u202etxt"),
        ("\x7f", "␡"),
    ],
)
def test_control_sequences_are_shown(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown
