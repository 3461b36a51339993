"""Plain text keeps its lines; underlined titles are headings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loragraft.rag.corpus.extracted import tidy
from loragraft.rag.corpus.plain import extract_plain


def test_underlined_titles_are_headings() -> None:
    found = extract_plain(
        "=====\nGuide\n=====\n\nIntro.\n\nInstall\n-------\n\nText\nmore.\n\nUse\n---\n\nEnd.\n",
        100,
    )
    assert [(h.level, h.text) for h in found.headings] == [(1, "Guide"), (2, "Install"), (2, "Use")]
    assert found.text[found.headings[1].start :].startswith("\nText\nmore.")
    assert found.text[found.headings[0].line :].startswith("=====\nGuide")
    assert found.title == "Guide"


def test_rules_and_tables_are_no_headings() -> None:
    text = (
        "name   value\n-----  -----\na      1\n\n"
        "Best regards\n--------------------------------------\n\nx y\n---\n"
    )
    assert [h.text for h in extract_plain(text, 100).headings] == ["x y"]


def test_the_first_line_alone_is_a_title() -> None:
    assert extract_plain("Notes on LoRA\n\nThey are short.", 9).title == "Notes on LoRA"
    assert extract_plain("It is a sentence.\n\nAnother.", 9).title == ""
    assert extract_plain("goes on\nhere", 9).title == ""


@given(text=st.text())
def test_tidy_text_can_be_stored_and_stays_as_it_is(text: str) -> None:
    once = tidy(text)
    once.encode("utf-8")
    assert "\x00" not in once
    assert "\r" not in once
    assert tidy(once) == once
