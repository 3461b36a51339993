"""How figures are spelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.analysis.numbers import (
    NONE,
    bare,
    difference,
    p_value,
    percent,
    signed,
    spelled,
    trimmed,
)

UNITS = ("share", "points of 100", "count", "seconds", "bytes", "nats", "tokens", "")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.612, "share", "61.2 %"),
        (1.0, "share", "100.0 %"),
        (0.0123, "count", "0.012"),
        (0.3881, "seconds", "0.388 s"),
        (38.04, "points of 100", "38.0 points"),
        (3 * 2**30, "bytes", "3.00 GiB"),
        (21.14, "tokens", "21.1 tokens"),
        (2.5, "nats per token", "2.500 nats per token"),
        (None, "share", NONE),
        (float("nan"), "count", NONE),
    ],
)
def test_values_are_spelled_by_their_unit(value: float | None, unit: str, text: str) -> None:
    assert spelled(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.084, "share", "+8.4 points"),
        (-0.2, "share", "-20.0 points"),
        (0.0, "share", "0.0 points"),
        (-0.0001, "share", "0.0 points"),
        (0.0001, "share", "0.0 points"),
        (0.25, "seconds", "+0.250 s"),
        (12345.0, "points", "+12,345 points"),
    ],
)
def test_differences_have_signs_and_nothing_has_none(value: float, unit: str, text: str) -> None:
    assert difference(value, unit) == text


def test_p_values_below_a_thousandth_have_no_digits() -> None:
    assert [p_value(p) for p in (0.0001, 0.001, 0.0314, 1.0)] == [
        "< 0.001", "= 0.001", "= 0.031", "= 1.000"
    ]  # fmt: skip
    assert percent(0.95) == "95 %"


@pytest.mark.parametrize(
    ("text", "short"),
    [("100.0 %", "100 %"), ("0.388 s", "0.388 s"), ("3.000", "3"), ("120", "120"),
     ("1.20e-05", "1.20e-05"), (NONE, NONE)],
)  # fmt: skip
def test_zeros_that_say_nothing_are_trimmed(text: str, short: str) -> None:
    assert trimmed(text) == short


@given(st.floats(-1e9, 1e9), st.sampled_from(UNITS))
def test_a_sign_changes_nothing_else(value: float, unit: str) -> None:
    text = signed(value, unit)
    assert text.lstrip("+-") == bare(abs(value), unit)
    assert text[0] not in "+-" or any(digit in "123456789" for digit in text)
