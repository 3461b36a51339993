"""The generator of the example: its choices are fixed, and its checks see what is wrong."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scripts.science import fields
from scripts.science.checks import problems
from scripts.science.choose import Choice
from scripts.science.collection import Collection, make_collection
from scripts.science.fields import FieldError, filled, read_fields
from scripts.science.values import Range, spelled, spread

Task = dict[str, Any]


@pytest.fixture(scope="module")
def collection() -> Collection:
    return make_collection()


def test_choices_are_the_same_everywhere() -> None:
    assert Choice(("a", "b")).number() == 0xF04CDCED9736A69D
    assert Choice(("a",)).at("b").number() == Choice(("a", "b")).number()
    assert Choice(("ab",)).number() != Choice(("a", "b")).number()
    assert Choice(("a",)).shuffled("abcdef") == list("dfcbae")


def test_another_seed_gives_another_collection(collection: Collection) -> None:
    other = make_collection(2)
    assert not problems(other)
    texts = {paper.text for paper in collection.papers}
    assert not texts & {paper.text for paper in other.papers}


def test_values_are_spelled_as_people_do() -> None:
    percent = Range(0, 999, 1, ("%", "per cent"))
    assert percent.answers(124, bare=False) == ["12.4 %", "12.4 per cent", "12.4%"]
    crowns = Range(0, 99_999, 0, ("crowns",))
    assert crowns.answers(1250, bare=True) == ["1250 crowns", "1,250 crowns", "1250", "1,250"]
    assert crowns.text(12_500) == "12,500 crowns"
    assert Range(0, 999, 2, ("",)).answers(7, bare=False) == ["0.07"]
    assert [spelled(n) for n in (0, 13, 20, 99)] == ["zero", "thirteen", "twenty", "ninety-nine"]


@given(
    st.integers(0, 1000),
    st.integers(30, 10_000),
    st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=3),
)
def test_compared_values_are_clearly_apart(low: int, width: int, places: list[int]) -> None:
    values = spread(low, low + width - 1, places)
    gaps = [b - a for a, b in itertools.pairwise(values)]
    assert min(gaps) > width // (2 * len(places) - 1)
    assert values[0] >= low
    assert values[-1] < low + width


def test_slots_are_filled_with_the_right_article() -> None:
    assert filled("a/an <what> and <it>.", {"what": "oar", "it": "x"}) == "An oar and x."
    assert filled("by a/an <what>", {"what": "net"}) == "By a net"


def changed(**more: object) -> Callable[[Task], Task]:
    return lambda task: {**task, **more}


def shifted(task: Task) -> Task:
    doc_id, _, span = task["evidence"][0].partition("#")
    start, stop = map(int, span.split("-"))
    return {**task, "evidence": [f"{doc_id}#{start + 1}-{stop + 1}"]}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (shifted, "the evidence is no sentence"),
        (changed(answers=["never said"]), "'never said' is not in"),
        (changed(question="How heavy was it in the end?"), "names []"),
        (lambda t: {**t, "question": f"{t['question'][:-1]} or Pale Scathe?"}, "names ["),
        (lambda t: {**t, "question": f"{t['question'][:-1]}, {t['answers'][0]}?"}, "its answer"),
        (lambda t: {**t, "question": f"{t['question']} <it>?"}, "reads badly"),
        (changed(id="alloys-verodine-02"), "twice: alloys-verodine-02"),
        (changed(evidence=["alloys-verodine#0-8"]), "the evidence is no sentence"),
        (changed(task_type="yes_no"), "yes and no are not balanced"),
    ],
)
def test_what_is_wrong_with_a_record_is_found(
    collection: Collection, spoil: Callable[[Task], Task], told: str
) -> None:
    place = next(n for n, task in enumerate(collection.tasks) if task["task_type"] == "numeric")
    tasks = [*collection.tasks]
    tasks[place] = spoil(tasks[place])
    found = problems(Collection(collection.papers, tuple(tasks)))
    assert any(told in problem for problem in found), found


def test_what_is_wrong_with_a_paper_is_found(collection: Collection) -> None:
    paper = collection.papers[0]
    for text, told in ((paper.text[:400], "words"), (paper.text + " <it>", "slot")):
        spoilt = (dataclasses.replace(paper, text=text), *collection.papers[1:])
        assert any(told in one for one in problems(Collection(spoilt, ())))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda fact: fact.update(says=["It has none."]), "lacks ['value']"),
        (lambda fact: fact.update(asks=["How much was it?"]), "names no paper"),
        (lambda fact: fact.pop("range"), "has no range"),
        (lambda fact: fact.update(says=[{"Two": "<value> in all"}]), "need quotes?"),
    ],
)
def test_a_broken_fact_names_its_file(
    change: Callable[[dict[str, Any]], object],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = yaml.safe_load((fields.FOLDER / "alloys.yaml").read_text(encoding="utf-8"))
    facts = [item for paragraph in values["methods"] for item in paragraph]
    change(next(item for item in facts if isinstance(item, dict) and "numeric" in item))
    (tmp_path / "alloys.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    monkeypatch.setattr(fields, "FOLDER", tmp_path)
    with pytest.raises(FieldError, match=r"alloys\.yaml") as error:
        read_fields()
    assert told in str(error.value)
