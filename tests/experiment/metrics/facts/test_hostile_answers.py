"""Answers that were made to look right, or to break what reads them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.dataset.records import Qa, read_records
from loragraft.experiment.metrics.facts.match import judge_answer
from loragraft.experiment.metrics.facts.yes_no import decide

TASKS = Path(__file__).parents[4] / "examples" / "science" / "tasks.jsonl"


def questions() -> list[Qa]:
    return [record for record in read_records(TASKS) if isinstance(record, Qa)]


def test_accepted_answers_of_the_example_are_right() -> None:
    forms = itertools.cycle(["{}", "The answer is {}.", "**{}**", "Answer: {}", "It was {}."])
    for record in questions():
        for answer, form in zip(record.answers, forms, strict=False):
            verdict = judge_answer(form.format(answer), record.answers, record.question)
            assert verdict.right, (record.id, form, answer, verdict)


def test_answers_to_other_questions_are_wrong() -> None:
    records = questions()
    kinds: dict[str, list[Qa]] = {}
    for record in records:
        kinds.setdefault(record.task_type, []).append(record)
    for number, record in enumerate(records):
        others = kinds[record.task_type]
        other = others[(7 * number + 3) % len(others)]
        if {one.casefold() for one in record.answers} & {one.casefold() for one in other.answers}:
            continue
        verdict = judge_answer(f"It is {other.answers[0]}.", record.answers, record.question)
        assert not verdict.right, (record.id, other.answers[0], verdict)


def test_denied_answers_are_wrong() -> None:
    for record in questions()[::2]:
        if record.task_type in ("yes_no", "comparison"):
            continue
        for form in ("It is not {}.", "Neither {} nor anything else.", "Anything but not {}"):
            verdict = judge_answer(form.format(record.answers[0]), record.answers, record.question)
            assert not verdict.right, (record.id, form, verdict)


def test_naming_everything_is_wrong() -> None:
    records = [record for record in questions() if record.task_type == "entity"]
    everything = ", ".join(record.answers[0] for record in records[:12])
    listed = "\n".join(f"- {record.answers[0]}" for record in records[:12])
    either = " or ".join(record.answers[0] for record in records[:12])
    for record in records[:12]:
        for text in (everything, listed, either):
            assert not judge_answer(text, record.answers, record.question).right, record.id


@pytest.mark.parametrize(
    "answer",
    ["Yes and no.", "Yes, no.", "yes/no", "It depends.", "I don't know.", "The text does not say.",
     "", "...", "Maybe", "Primer was applied.", "Yesterday", "Noon", "Nobody", "North"],
)  # fmt: skip
def test_neither_yes_nor_no(answer: str) -> None:
    assert decide(answer, "Was the wall painted twice?")[0] is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Yes", "yes"), ("yes!", "yes"), ("No.", "no"), ("No, it was not.", "no"), ("NO", "no"),
        ("The answer is yes.", "yes"), ("Answer: No", "no"), ("It is true.", "yes"),
        ("That is not correct.", "no"), ("No doubt it was.", "yes"), ("Never.", "no"),
        ("Yes, although the wall was not painted twice everywhere.", "yes"),
        ("The wall was painted twice.", "yes"), ("The wall was not painted twice.", "no"),
        ("The wall wasn't painted twice.", "no"), ("The wall was painted only once.", None),
        ("Sure! Yes, it was.", "yes"), ("Was the wall painted twice? No.", "no"),
        ("No wall was painted twice.", "no"), ("Yes, no doubt.", "yes"),
    ],
)  # fmt: skip
def test_yes_or_no(answer: str, said: str | None) -> None:
    assert decide(answer, "Was the wall painted twice?")[0] == said


@pytest.mark.parametrize(
    "text",
    ["1 " * 50_000, "1," * 50_000, "a or " * 20_000, "no " * 30_000, "- x\n" * 20_000, "(" * 50_000,
     "one hundred and " * 10_000, "5 m per " * 10_000, "." * 50_000,
     "\u0301" * 20_000, "\x00\x1b[2J", "trout and " + "a" * 1_000 + "#", "one " * 10_000,
     "trout, " + "a" * 1_000 + "#", "not " + " " * 1_000 + "x", "- " * 30_000, "*" * 50_000 + "x"],
)  # fmt: skip
def test_endless_answers_are_read(text: str) -> None:
    assert not judge_answer(text, ["eel"], "Which fish, eel or trout?").right
    assert not judge_answer(text, ["95 months"], "How long?").right
    judge_answer(text, ["yes"], "Is it?")


PIECES = [
    *"0123456789.,-+/ ()%^~$",
    "⁻",
    "²",
    "½",
    "e",
    "x10",
    "·",
    " per ",
    " km",
    "°C",
    "hundred ",
    "ninety-",
    "and ",
    "a ",
    "half ",
    "minus ",
    " to ",
    " or ",
    "not ",
    "±",
    "th",
    "°",
    "'",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_any_numbers_are_judged(text: str) -> None:
    judge_answer(text, ["95 km", text or "5"], text)
    judge_answer("It was 5.", [text or "5"], "How much?")


@given(st.text(max_size=120), st.text(min_size=1, max_size=30), st.text(max_size=60))
def test_any_texts_are_judged(answer: str, accepted: str, question: str) -> None:
    verdict = judge_answer(answer, [accepted], question)
    assert json.dumps([verdict.right, verdict.reason])


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("el café", "cafe", True),
        ("量子力学", "量子", True),
        ("ＲＥＤ", "red", True),  # noqa: RUF001
        ("the lairds' party", "laird's party", True),
        ("Glass", "glas", False),
        ("sealskin", "seals", False),
        ("Arc nine", "Arc 9", True),
        ("Arc 19", "Arc 9", False),
        ("Smith and Jones", "Smith and Jones", True),
        ("Smith and Jones", "Smith", False),
        ("no glow at all", "no glow", True),
        ("12 March 1985", "12 March 1985", True),
        ("13 March 1985", "12 March 1985", False),
        ("It was Moth; it was not Eel.", "Moth", True),
        ("It was Eel; it was not Moth.", "Moth", False),
    ],
)
def test_texts(answer: str, accepted: str, right: bool) -> None:
    assert judge_answer(answer, [accepted]).right == right


MONTHS, FEET, YEAR = ("95 months",), ("5 feet 3 inches",), ("1985",)
GRANT = "Was the smaller grant that of the Taste Academy or of the Dairy Circle?"
MOAT = "Which came first, the wall or the moat?"


@pytest.mark.parametrize(
    ("question", "accepted", "answer", "right"),
    [
        ("How long?", MONTHS, "It stays for 95 (ninety-five) months.", True),
        ("How long?", MONTHS, "7 years and 11 months", True),
        ("How long?", MONTHS, "7 years and 12 months", False),
        ("How long?", ("2 h 30 min",), "2.5 hours", True),
        ("How long?", ("2 h 30 min",), "2 h", False),
        ("How long?", ("5 days",), "5 days and 3 hours", False),
        ("How tall?", FEET, "63 inches", True),
        ("How tall?", FEET, "160 cm", True),
        ("When?", YEAR, "on 5 May 1985", True),
        ("When?", YEAR, "May 5, 1985", True),
        ("When?", YEAR, "1985 or 1986", False),
        ("When?", ("5 May 1985",), "6 May 1985", False),
        (MOAT, ("the wall",), "The moat came after the wall.", True),
        (MOAT, ("the wall",), "The wall came after the moat.", False),
        (MOAT, ("the wall",), "The moat was later than the wall.", True),
        (MOAT, ("the wall",), "First the wall, then the moat.", True),
        (MOAT, ("the wall",), "Neither.", False),
        (GRANT, ("Taste Academy",), "The Taste Academy: it gave less.", True),
        (GRANT, ("Taste Academy",), "The academy.", True),
        (GRANT, ("Taste Academy",), "The Taste Circle: it gave less.", False),
        ("Was it open?", ("no",), "Not in winter.", True),
        ("Was it open?", ("no",), "Not known.", False),
    ],
)
def test_parts_dates_and_orders(
    question: str, accepted: tuple[str, ...], answer: str, right: bool
) -> None:
    assert judge_answer(answer, accepted, question).right == right
