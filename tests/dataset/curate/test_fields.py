"""Values as scrapers write them: read where that is safe, never a failure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.dataset.curate.fields import (
    number_of,
    read,
    read_flag,
    read_key,
    read_number,
    read_seconds,
    read_text,
    read_texts,
    seconds_of,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("post.text", "tides"),
        ("post", {"text": "tides", "author": {"name": "ada"}}),
        ("post.author.name", "ada"),
        ("post.author.age", None),
        ("post.text.more", None),
        ("items.1.text", "second"),
        ("items.2.text", None),
        ("items.-1", None),
        ("items.999999999999999999999", None),
        ("a.b", "with a dot"),
        ("", None),
        ("..", None),
    ],
)
def test_a_dotted_path_finds_what_stands_there(path: str, found: object) -> None:
    values = {
        "post": {"text": "tides", "author": {"name": "ada"}},
        "items": [{"text": "first"}, {"text": "second"}],
        "a.b": "with a dot",
        "a": {"b": "nested"},
    }
    assert read(values, path) == found


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7),
        (7.5, 7.5),
        ("42", 42),
        (" 42 ", 42),
        ("1,234", 1234),
        ("12,345,678", 12_345_678),
        ("1.2K", 1200),
        ("1.2 k", 1200),
        ("3M", 3_000_000),
        ("1.5B", 1_500_000_000),
        ("-3.5", -3.5),
        ("0.1234K", 123.4),
        ("1,23", None),
        ("1.234.567", None),
        ("1,2K,3", None),
        ("12 likes", None),
        ("", None),
        ("K", None),
        ("9" * 5000, None),
        ("٣", None),
        ("1e5", None),
        ("nan", None),
        (True, None),
        (None, None),
        ([3], None),
        ({"count": 3}, None),
        (float("inf"), None),
    ],
)
def test_numbers_are_read_where_that_is_safe(value: object, number: float | None) -> None:
    found = number_of(value)
    assert found == number
    assert type(found) is type(number)


@given(st.integers(0, 10**15))
def test_every_grouped_number_reads_as_itself(number: int) -> None:
    assert number_of(f"{number:,}") == number
    assert number_of(str(-number)) == -number


@pytest.mark.parametrize(
    "value",
    [
        "Wed Oct 10 20:19:24 +0000 2018",
        "Wed Oct 10 22:19:24 +0200 2018",
        "2018-10-10T20:19:24Z",
        "2018-10-10T20:19:24.000Z",
        "2018-10-10 20:19:24",
        "2018-10-10T20:19:24+00:00",
        "2018-10-10T15:49:24-0430",
        1539202764,
        1539202764.0,
        "1539202764",
        1539202764000,
        "1539202764000",
        1539202764000000,
    ],
)
def test_times_are_read_in_every_spelling(value: object) -> None:
    assert seconds_of(value) == 1539202764.0


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2018-13-10T20:19:24Z",
        "2018-02-30",
        "2018-10-10T25:00:00Z",
        "2018-10-10T20:19:24+99:00",
        "Wed Xyz 10 20:19:24 +0000 2018",
        "0000-01-01",
        "",
        0,
        12,
        -1539202764,
        10**30,
        float("inf"),
        True,
        None,
        ["2018-10-10"],
        "2" * 10_000,
    ],
)
def test_what_is_no_time_is_none(value: object) -> None:
    assert seconds_of(value) is None


@given(
    st.datetimes(datetime(1981, 1, 1), datetime(2099, 1, 1)),
    st.integers(-12 * 60, 14 * 60),
)
def test_times_with_zones_read_as_python_reads_them(moment: datetime, minutes: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert seconds_of(zoned.isoformat()) == pytest.approx(zoned.timestamp(), abs=1e-4)


@pytest.mark.parametrize(
    ("value", "flag"),
    [(True, True), (False, False), ("true", True), ("False", False), (0, False), (1, True),
     ([], False), ([{}], True), ({}, False), ("maybe", None), (2, None), (None, None)],
)  # fmt: skip
def test_flags_are_read(value: object, flag: bool | None) -> None:
    assert read_flag({"x": value}, "x") is flag


def test_texts_are_one_or_all_of_a_list() -> None:
    values: dict[str, Any] = {"one": "a b", "many": ["a", "b"], "mixed": ["a", 3], "blank": " \n"}
    assert read_texts(values, "one") == ("a b",)
    assert read_texts(values, "many") == ["a", "b"]
    assert read_text(values, "many") == "a\nb"
    assert read_texts(values, "mixed") is None
    assert read_texts(values, "blank") is None


def test_keys_are_the_same_for_a_number_and_its_text() -> None:
    assert read_key({"x": 17}, "x") == read_key({"x": "17"}, "x") == read_key({"x": 17.0}, "x")
    assert read_key({"x": {}}, "x") is None
    assert read_key({"x": " "}, "x") is None


@given(st.dictionaries(st.text(), JSON, max_size=4), st.text(max_size=12))
def test_no_value_and_no_path_makes_a_reader_fail(values: dict[str, Any], path: str) -> None:
    for reader in (read, read_text, read_texts, read_key, read_number, read_flag, read_seconds):
        reader(values, path)
        for key in values:
            reader(values, key)
