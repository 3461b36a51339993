"""What a person sees of a passage: lines that fit, and marks where the question's words stand."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.cli.passages import places_to_mark, print_passages, words_to_mark
from tests.support.passages import passage


def marked(question: str, text: str) -> list[str]:
    return [text[start:stop] for start, stop in places_to_mark(text, words_to_mark(question))]


@pytest.mark.parametrize(
    ("question", "text", "words"),
    [
        ("What is the Harbour?", "the harbour is what it is", ["harbour"]),
        ("lock", "a Lock, locks and LOCK", ["Lock", "LOCK"]),
        ("café", "Cafe or café", ["Cafe", "café"]),
        ("東京 port", "the port of 東京", ["port", "東京"]),
        ("how is it?", "how it is", []),
        ("x" * 100_000, "nothing", []),
    ],
)
def test_words_are_marked(question: str, text: str, words: list[str]) -> None:
    assert marked(question, text) == words


@given(st.text(), st.text())
def test_marks_stand_in_the_text(question: str, text: str) -> None:
    for start, stop in places_to_mark(text, words_to_mark(question)):
        assert 0 <= start < stop <= len(text)


def test_pages_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    one = passage("text", "a.pdf")
    for metadata in ({"page": 3}, {"page": 3, "last_page": 5}):
        print_passages("", [replace(one, chunk=replace(one.chunk, metadata=metadata))])
    out = capsys.readouterr().out
    assert "a.pdf, page 3, characters 0 to 4" in out
    assert "a.pdf, pages 3 to 5, characters 0 to 4" in out


def test_lines_fit_in_80_columns_and_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    text = "word " * 40 + "\n\n\n\n" + "long" * 60 + "\n\t" + "東京" * 60
    found = passage(text, "a\x1b[2J.md", title="A title " * 30, headings=("Above",), start=7)
    print_passages("word", [found])
    out = capsys.readouterr().out
    wide = sum(character in "東京" for character in out)
    assert wide == 120
    assert "".join(out.split()).count("word") == 40
    assert "\x1b" not in out
    assert "a\u241b[2J.md, characters 7 to" in out
    assert max(len(line) + sum(c in "東京" for c in line) for line in out.splitlines()) <= 80
    assert sys.stdout.isatty() is False
