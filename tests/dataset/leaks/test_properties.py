"""What holds of every set: order, exchange, and that nothing leaks into itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.dataset.leaks.find import find_leaks
from loragraft.dataset.leaks.report import LeakReport
from tests.dataset.leaks.records import Row, qa, reply, write_splits

WORDS = ("ferry", "Lamp", "stone", "412", "K", "the", "of", "Orsk", "when", "melts", "no", "käse",
         "雨が降る", "river", "mends", "tall")  # fmt: skip
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)
ROWS = st.one_of(
    st.builds(lambda q, a: qa("", q, a), TEXTS, TEXTS),
    st.builds(lambda p, r: reply("", p, r), TEXTS, TEXTS),
)
SETS = st.lists(ROWS, min_size=1, max_size=8)


def named(prefix: str, rows: list[Row]) -> list[Row]:
    return [{**row, "id": f"{prefix}{n}"} for n, row in enumerate(rows)]


def look(splits: dict[str, list[Row]]) -> LeakReport:
    with tempfile.TemporaryDirectory() as folder:
        return find_leaks(write_splits(Path(folder), splits))


@settings(max_examples=40)
@given(SETS, SETS, st.randoms(use_true_random=False))
def test_the_order_of_lines_changes_nothing(
    train: list[Row], test: list[Row], chance: object
) -> None:
    splits = {"train": named("a", train), "test": named("b", test)}
    first = look(splits)
    for rows in splits.values():
        chance.shuffle(rows)  # type: ignore[attr-defined]
    again = look({"test": splits["test"], "train": splits["train"]})
    assert again.to_json() == first.to_json()


@settings(max_examples=60)
@given(SETS, SETS)
def test_two_splits_of_equal_standing_can_be_exchanged(one: list[Row], two: list[Row]) -> None:
    a, b = named("a", one), named("b", two)
    first, second = look({"p": a, "q": b}), look({"p": b, "q": a})
    same = ["exact", "normalised", "near", "answer-in-question"]
    for kinds in (same[:1], same[:2], same[:3], same):
        sides = [
            any(c.severity == "leak" and c.kind in kinds for c in report.counts)
            for report in (first, second)
        ]
        assert sides[0] == sides[1]


@settings(max_examples=30)
@given(SETS)
def test_nothing_leaks_into_itself(rows: list[Row]) -> None:
    assert look({"test": named("a", rows)}).leaks == ()


@settings(max_examples=30)
@given(SETS)
def test_a_copy_leaks_whole(rows: list[Row]) -> None:
    report = look({"train": named("a", rows), "test": named("b", rows)})
    found = {leak.first.id for leak in report.leaks if leak.kind == "exact"}
    assert found == {f"b{n}" for n in range(len(rows))}
