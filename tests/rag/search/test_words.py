"""Words of any script: what is found by what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.rag.search.words import LONGEST, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat, the CAT.", ["the", "cat", "the", "cat"]),
        ("IL-6", ["il", "6", "il6"]),
        ("IL6", ["il", "6", "il6"]),
        ("e-mail", ["e", "mail", "email"]),
        ("10mg", ["10", "mg", "10mg"]),
        ("snake_case", ["snake", "case", "snakecase"]),
        ("camelCase HTTPServer", ["camel", "case", "camelcase", "http", "server", "httpserver"]),
        ("os.path.join()", ["os", "path", "join", "ospathjoin"]),
        ("__init__", ["init"]),
        ("a3f9b2c1d8e7", ["a3f9b2c1d8e7"]),
        ("C++, C# and C", ["c", "c++", "c", "c#", "and", "c"]),
        ("p<0.05, n=1,000.5; 3.14.", ["p", "0.05", "n", "1000.5", "3.14"]),
        ("[1,2,3]", ["1", "2", "3"]),
        ("patient's", ["patient", "s", "patients"]),
        ("Straße CAFÉ naïve İstanbul", ["strasse", "cafe", "naive", "istanbul"]),
        ("ﬁne \uff26\uff35\uff2c\uff2c re\u00adsume", ["fine", "full", "resume"]),
        ("Йод, ΣΊΣΥΦΟΣ", ["иод", "σισυφοσ"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("مرحبا بالعالم ١٢٣", ["مرحبا", "بالعالم", "123"]),
        ("می\u200cخواهم", ["می", "خواهم", "میخواهم"]),  # noqa: RUF001
        ("猫", ["猫"]),
        ("黒い猫、Pythonで", ["黒", "い", "猫", "黒い", "い猫", "python", "で"]),
        ("서울", ["서", "울", "서울"]),
        ("ไทย", ["ไ", "ท", "ย", "ไท", "ทย"]),
        ("!?… 😀\x00\x1b[31m", ["31", "m", "31m"]),
        ("\ud800 half", ["half"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text(max_size=200))
def test_every_word_is_short_and_all_are_the_same_in_upper_and_lower_case(text: str) -> None:
    found = words(text)
    assert all(0 < len(word) <= LONGEST for word in found)
    assert words(text) == found


@given(st.lists(st.from_regex(r"[a-z]{1,12}|[0-9]{1,6}", fullmatch=True), max_size=20))
def test_plain_words_are_themselves(some: list[str]) -> None:
    assert words(" ".join(some)) == some
    assert words(", ".join(word.upper() for word in some)) == some


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_space_parts_texts(left: str, right: str) -> None:
    # Marks stand on what is before them, so none may begin the second text.
    assert words(f"{left} . {right}") == [*words(left), *words(right)]


def test_endless_runs_take_no_time() -> None:
    for text in ("a" * 10**6, "1" * 10**6 + "x", "1.1" * 300_000 + "x", "-".join("a" * 300_000)):
        assert len(words(text)) < 200
    assert len(words("字" * 100_000)) == 199_999
