"""Names of bundles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.artifact.names import check_name, suggest_name
from loragraft.errors import InputError


@pytest.mark.parametrize("name", ["a", "science-lora", "Qwen2.5-0.5B", "mit Leerzeichen", "漢字"])
def test_plain_names_pass(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [("", "is empty"), (".", "starts with"), ("..", "starts with"), (".hidden", "starts with"),
     ("-rf", "starts with '-'"), ("a/b", "holds '/'"), ("a\\b", "holds"), ("/a", "holds '/'"),
     ("a\0", "holds"), ("a\n", "holds"), ("a:b", "holds ':'"), ("a ", "ends with a space"),
     (" a", "starts or ends with a space"), ("a.", "ends with a dot"), ("CON", "is reserved"),
     ("caf\udce9", "is no UTF-8 text"), ("a\ud800", "is no UTF-8 text"), ("nul.txt", "is reserved"),
     ("x" * 201, "longer than 200"), ("é" * 101, "longer than 200")],
)  # fmt: skip
def test_other_names_are_refused(name: str, problem: str) -> None:
    with pytest.raises(InputError, match=f"{problem}.*--name"):
        check_name(name)


@given(st.text(max_size=300))
def test_any_text_suggests_a_valid_name(text: str) -> None:
    check_name(suggest_name(text))


def test_suggestions_stay_near_the_text() -> None:
    assert suggest_name("org/science lora") == "org-science lora"
    assert suggest_name("...") == "export"
