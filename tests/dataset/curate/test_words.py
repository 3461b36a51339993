"""Words are counted and found as a reader would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.dataset.curate.words import Keywords, Phrases, plain, stands_in, urls_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The tide's turn!", ["the", "tide's", "turn"]),
        ("don\u2019t \u2018stop\u2019", ["don't", "stop"]),
        ("@ada see https://a.example/x?y=1, and 42", ["see", "and"]),
        ("B2B and H2O", ["b2b", "and", "h2o"]),
        ("\u6c34\u306f\u6d41", ["\u6c34", "\u306f", "\u6d41"]),
        ("caf\u00e9 STRASSE stra\u00dfe", ["caf\u00e9", "strasse", "strasse"]),
        ("\U0001f600 !!! ...", []),
        ("snake_case", ["snake", "case"]),
    ],
)
def test_words_leave_links_mentions_and_numbers_out(text: str, words: list[str]) -> None:
    assert list(words_of(text)) == words


def test_phrases_cover_words_once() -> None:
    phrases = Phrases(["so true", "true that", "so"])
    assert phrases.share(words_of("So true that is")) == 0.75
    assert phrases.share(["nothing", "here"]) == 0
    assert phrases.share([]) == 1


@pytest.mark.parametrize(
    "text",
    ["http://a.example", "WWW.A.EXAMPLE", "see bit.ly/3xyz", "a.com", "sub.site.org.", "x.net/a"],
)
def test_links_are_seen(text: str) -> None:
    assert urls_of(text)


@pytest.mark.parametrize(
    "text", ["3.14", "end.So", "e.g. this", "ada@lab.org", "and/or", "...", "v1.2.3", "St.John"]
)
def test_what_is_no_link_is_not_taken_for_one(text: str) -> None:
    assert not urls_of(text)


@given(st.lists(st.text("ab*$# c", min_size=1).filter(lambda term: any(c in "abc" for c in term)),
                min_size=1, max_size=4), st.text("ab*$# cd"))  # fmt: skip
def test_any_terms_make_a_pattern_that_finds_them(terms: list[str], text: str) -> None:
    keywords = Keywords(terms)
    assert all(found in plain(text) for found in keywords.find(text))
    for term in terms:
        body = plain(term).strip().rstrip("*")
        assert list(keywords.find(f" {body} "))


def test_long_texts_take_no_long_time() -> None:
    for text in ("a." * 200_000, "a" * 400_000, "@" * 400_000, "'" * 400_000, "a-" * 200_000):
        words_of(text)
        urls_of(text)


def test_words_stand_in_words_whole_and_in_order() -> None:
    assert stands_in("412 K", "at 412\u00a0K, it melts")
    assert not stands_in("41", "at 412 K")
    assert not stands_in("melts it", "it melts")
    assert not stands_in("...", "it melts")


def test_a_long_text_that_nearly_stands_in_another_takes_no_long_time() -> None:
    assert not stands_in("a " * 20_000 + "b", "a " * 1_000_000)
    assert stands_in("a " * 20_000 + "b", "a " * 1_000_000 + "b")
