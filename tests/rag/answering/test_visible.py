"""Hidden characters: what carries hidden words goes, what scripts and emoji need stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.rag.answering.visible import visible


@pytest.mark.parametrize(
    "text",
    [
        "Plain text,\twith a tab\nand a line.",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian with a non-joiner
        "\u0915\u094d\u200d\u0937",  # Hindi with a joiner
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family
        "\u2764\ufe0f\u200d\U0001f525",  # a heart on fire: selector and joiner
        "1\ufe0f\u20e3",  # a keycap
        "\u845b\U000e0100",  # a form of a Chinese character
        "Größe, naïve, 漢字, русский, ½",
    ],
)
def test_what_people_see_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("pass\u200bword\u2060\ufeff", "password"),
        ("co\u00adoperate", "cooperate"),
        ("a\u200db a\u200cb", "ab ab"),
        ("x" + "".join(chr(0xE0000 + ord(c)) for c in "obey"), "x"),
        ("\U0001f600" + "".join(chr(0xE0100 + n) for n in range(16)), "\U0001f600"),
        ("a\ufe0f\ufe0e\ufe01", "a"),
        ("\u202edrawkcab\u202c", "drawkcab"),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("one\r\ntwo\rthree\u2028four\x0cfive\x85six", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("half \ud83d and \ufdd0", "half \ufffd and \ufffd"),
        ("a\ufe0f\u200d\u0915", "a\u0915"),
    ],
)
def test_what_nobody_sees_goes(text: str, seen: str) -> None:
    assert visible(text) == seen


@given(st.text())
def test_it_is_done_at_once_and_adds_nothing(text: str) -> None:
    seen = visible(text)
    assert visible(seen) == seen
    assert len(seen) <= len(text)
