"""What an answer states, and which citations belong to each sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.metrics.grounding.claims import Statement, statements
from loragraft.rag.answering.citations import parse_citations

SHOWN = (1, 2, 3)


def read(answer: str) -> list[Statement]:
    """Read an answer with the citations that the tool finds in it."""
    found = parse_citations(answer, SHOWN)
    citations = [
        {"label": f"P{one.number}", "start": one.start, "stop": one.stop, "known": one.known}
        for one in found
    ]
    return statements(answer, citations)


def shape(answer: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Return text, cited and fabricated of each statement."""
    return [(one.text, one.cited, one.fabricated) for one in read(answer)]


@pytest.mark.parametrize(
    "answer",
    [
        "It rained [P1]. Rivers rose [P2][P3].",
        "It rained. [P1] Rivers rose. [P2] [P3]",
        "It rained.[P1] Rivers rose.[P2][P3]",
        "[P1] It rained. [P2, P3] Rivers rose.",
        "It rained [1]. Rivers rose (Doc 2, 3).",
        "- It rained. [P1]\n- Rivers rose. [P2-P3]",
        "1. It rained [P1].\n2. **Rivers** rose [P2; P3].",
    ],
)
def test_the_same_is_said_in_many_ways(answer: str) -> None:
    """A citation belongs to its sentence, before or behind the full stop, or in front of it."""
    assert shape(answer) == [("It rained.", ("P1",), ()), ("Rivers rose.", ("P2", "P3"), ())]


def test_a_citation_may_be_the_subject() -> None:
    """A label that a sentence begins with belongs to that sentence, not to the one before."""
    assert shape("It rained. [P1] says that rivers rose.") == [
        ("It rained.", (), ()),
        ("says that rivers rose.", ("P1",), ()),
    ]


def test_prose_citations_leave_the_claim() -> None:
    """The words that only name a passage are no part of what is claimed."""
    said = shape("According to Passage 2, water boils at 100 °C. It freezes at 0 °C [P1].")
    assert said == [
        ("water boils at 100 °C.", ("P2",), ()),
        ("It freezes at 0 °C.", ("P1",), ()),
    ]


def test_fabricated_citations_stay_with_their_sentence() -> None:
    """A passage that was never shown is told apart."""
    assert shape("It rained [P1][P9]. Rivers rose [P8].") == [
        ("It rained.", ("P1",), ("P9",)),
        ("Rivers rose.", (), ("P8",)),
    ]


@pytest.mark.parametrize("lead", ["No.", "Yes, it did.", "No, it is not.", "Nein."])
def test_a_short_lead_belongs_to_its_sentence(lead: str) -> None:
    """It has no citation of its own to have."""
    assert shape(f"{lead} The river rose [P1].") == [(f"{lead} The river rose.", ("P1",), ())]
    assert shape(f"{lead}\n\nThe river rose [P1].") == [(f"{lead} The river rose.", ("P1",), ())]


def test_a_lead_with_a_colon_is_in_its_sentence() -> None:
    """No full stop parts them."""
    assert shape("No: the river fell [P1].") == [("No: the river fell.", ("P1",), ())]


def test_a_lead_alone_or_cited_is_a_sentence() -> None:
    """There is nothing to join it to, or nothing to be joined for."""
    assert shape("No.") == [("No.", (), ())]
    assert len(read("No [P1]. The river fell [P2].")) == 2


def test_what_states_nothing_is_left_out() -> None:
    """Headers, announcements, rules, code, and a list of sources at the end."""
    answer = (
        "## Findings\n**Rivers**\nThese are the facts:\n- It rained [P1]\n---\n"
        "```\nx = rows[1]\nprint(x)\n```\nSources:\n[P1] A\n[P2] B\n"
    )
    assert shape(answer) == [("It rained", ("P1",), ())]


def test_a_sentence_over_two_lines_is_one() -> None:
    """Small letters or digits go on after a line's end."""
    assert shape("The mill costs\n12 euros [P1]\nper sack.") == [
        ("The mill costs 12 euros per sack.", ("P1",), ())
    ]


def test_a_label_of_the_answer_is_no_claim() -> None:
    """The word before the colon says nothing."""
    assert shape("Answer: 12 euros [P1].") == [("12 euros.", ("P1",), ())]


@pytest.mark.parametrize("answer", ["", " \n ", "[P1]", "---", "***\n\n"])
def test_nothing_is_no_statement(answer: str) -> None:
    """Nothing is claimed."""
    assert read(answer) == []


def test_places_are_those_of_the_answer() -> None:
    """A report can show each sentence where it stands."""
    answer = "It rained [P1]. Rivers rose [P2]."
    places = [answer[one.start : one.stop].strip() for one in read(answer)]
    assert places == ["It rained [P1].", "Rivers rose [P2]."]


def test_broken_citations_do_no_harm() -> None:
    """Records are foreign: places beyond the answer, of the wrong type, the wrong way round."""
    broken: Sequence[dict[str, Any]] = [
        {"label": "P1", "start": 5, "stop": 500, "known": True},
        {"label": "P1", "start": "0", "stop": 3, "known": True},
        {"label": "P1", "start": 4, "stop": 2, "known": True},
        {"label": "P1"},
        {},
    ]
    assert [one.cited for one in statements("It rained.", broken)] == [()]


@given(
    answer=st.text(alphabet="aB1. \n[]P-:*#`°C!?()", max_size=80),
    places=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80), st.booleans()), max_size=6),
)
def test_any_answer_can_be_read(answer: str, places: list[tuple[int, int, bool]]) -> None:
    """Sentences stand in order, none is blank, and no citation belongs to two."""
    citations = [
        {"label": f"P{number}", "start": start, "stop": stop, "known": known}
        for number, (start, stop, known) in enumerate(places)
    ]
    found = statements(answer, citations)
    assert all(one.text.strip() and 0 <= one.start <= one.stop <= len(answer) for one in found)
    assert [one.start for one in found] == sorted(one.start for one in found)
    labels = [label for one in found for label in (*one.cited, *one.fabricated)]
    assert len(labels) == len(set(labels))
