"""The parts: words, names, what agrees, the joins that look at few pairs and miss none."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.artifact.progress import Silent
from loragraft.dataset.leaks.columns import read_columns
from loragraft.dataset.leaks.facts import agree, apart, says_much, telling
from loragraft.dataset.leaks.shingles import WIDTH, Needles
from loragraft.dataset.leaks.wording import Index
from loragraft.dataset.leaks.words import names, number_of, numbers, words
from tests.dataset.leaks.records import reply, write_splits

LETTERS = st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=12)


@settings(max_examples=40)
@given(st.lists(LETTERS, min_size=1, max_size=12), st.sampled_from([0.6, 0.75, 0.9, 1.0]))
def test_the_join_of_words_finds_what_every_pair_would(texts: list[list[str]], near: float) -> None:
    rows = [reply(f"r{n}", " ".join(text), "x") for n, text in enumerate(texts)]
    half = len(rows) // 2
    with tempfile.TemporaryDirectory() as folder:
        splits = write_splits(Path(folder), {"train": rows[half:], "test": rows[:half]})
        columns = read_columns(splits, Silent())
    index = Index(columns, columns.frequencies(), near, 0)
    for number in columns.of(1):
        found = {columns.ids[other] for other, _ in index.alike(number)}
        mine = set(texts[int(columns.ids[number][1:])])
        first: dict[tuple[str, ...], str] = {}
        for other in sorted(columns.of(0), key=columns.ids.__getitem__):
            theirs = texts[int(columns.ids[other][1:])]
            cosine = len(mine & set(theirs)) / math.sqrt(len(mine) * len(set(theirs)))
            if cosine >= near - 1e-9:
                first.setdefault(tuple(theirs), columns.ids[other])
        assert found == set(first.values())


@settings(max_examples=60)
@given(LETTERS, LETTERS, LETTERS, st.integers(1, 40))
def test_a_text_is_found_wherever_it_stands(
    text: list[str], before: list[str], behind: list[str], times: int
) -> None:
    needles = Needles(26)
    number = needles.add(text)
    assert (number is None) == (len(text) < WIDTH)
    other = needles.add([word.upper() for word in "qrstuvw"])
    hay = [before * times, before * times + text + behind, text, behind]
    found = {(inside.needle, inside.hay) for inside in needles.index().search(hay)}
    assert other not in {needle for needle, _ in found}
    if number is not None:
        assert {(number, 1), (number, 2)} <= found
        joined = [" ".join(each) for each in hay]
        runs = {" ".join(text[at : at + WIDTH]) for at in range(len(text) - WIDTH + 1)}
        for place in range(4):
            assert ((number, place) in found) == all(run in joined[place] for run in runs)


def test_texts_that_meet_at_their_ends_are_not_one() -> None:
    needles = Needles(26)
    needles.add(list("abcdef"))
    assert not list(needles.index().search([list("abc"), list("def")]))
    assert not list(Needles(26).index().search([list("abcdef")]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is IT?", ["what", "is", "it"]),
        ("1,234.5 m at \u22125 °C", ["1,234.5", "m", "at", "-5", "c"]),
        ("雨が降る", ["雨が", "が降", "降る"]),
        ("Über die Brücke", ["über", "die", "brücke"]),
        ("a水b", ["a", "水", "b"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    found = words(text)
    assert [word for word in expected if word not in found] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How dense is tessarite?", []),
        ("How dense is Tessarite at 412 K?", ["tessarite", "412", "k"]),
        ("Orsk is where? In Brannock. The end", ["brannock"]),
        ('He said: "The lamp" of Dr. Aumont', ["dr", "aumont"]),
        ("Does IL-6 bind pH-sensors?", ["il", "6", "ph", "sensor"]),
    ],
)
def test_names(text: str, expected: list[str]) -> None:
    assert names(text) == frozenset(map(number_of, expected))


def test_numbers() -> None:
    assert numbers(words("412 K in 1987, not twelve")) == {number_of("412"), number_of("1987")}


@pytest.mark.parametrize(
    ("answer", "much"),
    [("yes", False), ("no", False), ("the", False), ("b", False), ("12", False), ("412", True),
     ("412 k", True), ("velorin", True), ("水", True), ("none of the above", True), ("", False)],
)  # fmt: skip
def test_answers_that_say_much(answer: str, much: bool) -> None:
    assert says_much(answer) == much


def test_answers_agree_where_one_says_more() -> None:
    assert agree(["412 k"], ["412"]) is True
    assert agree(["412 k"], ["530 k", "412 k exactly"]) is True
    assert agree(["412"], ["1412"]) is False
    assert agree([], ["412"]) is None
    assert telling([["the north vent"], ["north vent", "yes"], []]) == [
        ("north vent",), ("north vent",), (),
    ]  # fmt: skip
    assert telling([["quartz lens"]] * 4 + [["yes"]]) == [()] * 5


def test_apart() -> None:
    one, two, three = frozenset((1, 2)), frozenset((1, 3)), frozenset((1,))
    assert apart(one, two)
    assert not apart(one, three)
    assert not apart(three, one)
    assert not apart(one, one)
