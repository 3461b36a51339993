"""Parameters: known names and types, and the form in which servers show them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.engine.ollama_shown import parse_shown
from loragraft.errors import InputError
from loragraft.ollama.parameters import (
    as_request,
    as_shown,
    check_parameter,
    describe,
    parse_value,
)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("temprature", 0.5, "no parameter of Ollama"),
        ("mirostat", 1, "no longer read"),
        ("num_ctx", 1.5, "whole number"),
        ("num_ctx", True, "whole number"),
        ("stop", ["x"], "a text"),
        ("stop", "", "empty"),
        ("temperature", "hot", "a number"),
        ("top_p", float("inf"), "finite"),
        ("seed", 2**70, "no server can hold"),
        ("use_mmap", 1, "true or false"),
    ],
)
def test_what_a_server_would_store_and_break_on_is_refused(
    name: str, value: object, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        check_parameter(name, value)


def test_values_of_the_command_line() -> None:
    assert parse_value("temperature", "1") == 1.0
    assert parse_value("use_mmap", "TRUE") is True
    assert parse_value("stop", "12") == "12"
    with pytest.raises(InputError, match="whole number"):
        parse_value("num_ctx", "8k")


def test_the_request_gathers_stops() -> None:
    given_ = (("stop", "a"), ("num_ctx", 5), ("stop", "b"), ("temperature", 0))
    assert as_request(given_) == {"stop": ["a", "b"], "num_ctx": 5, "temperature": 0.0}


def test_as_go_prints_them() -> None:
    shown = (
        'stop                           "<|im_end|>"\nnum_ctx                        8192\n'
        "seed                           1.048576e+06\ntemperature                    0.7\n"
        'stop                           "a\\n\\"b\\" \\u2028\\x00\\\\"\n'
        "use_mmap                 true"
    )
    expected = as_shown(
        [
            ("num_ctx", 8192),
            ("stop", 'a\n"b" \u2028\x00\\'),
            ("stop", "<|im_end|>"),
            ("use_mmap", True),
            ("temperature", 0.7),
            ("seed", 1048576),
        ]
    )
    assert parse_shown(shown) == expected
    assert parse_shown("") == as_shown([])
    assert 'stop "<|im_end|>"'.replace('"', "'") in describe(expected)


def test_order_does_not_matter_but_number_does() -> None:
    assert as_shown([("stop", "a"), ("stop", "b")]) == as_shown([("stop", "b"), ("stop", "a")])
    assert as_shown([("stop", "a"), ("stop", "a")]) != as_shown([("stop", "a")])


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_shown_text_is_read(text: str) -> None:
    assert parse_shown(text).total() <= text.count("\n") + 1
