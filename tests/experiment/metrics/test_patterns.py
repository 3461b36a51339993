"""Refusals, abstentions and loops are told from answers."""

from __future__ import annotations

import pytest

from loragraft.experiment.metrics.patterns import abstains, loops, refuses

THINGS = "rain wind snow ice fire stone wood glass iron salt"
POEM = "\n".join(f"Line {n} tells of {thing}." for n, thing in enumerate(THINGS.split()))


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "As an AI language model, I have no opinion.",
        "Unfortunately, I am unable to provide this.",
        "I’m sorry, I won’t answer.",  # noqa: RUF001
    ],
)
def test_refusals(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    ["Sorry is the name of a lake.", "The minnow cannot swim.", "I can help.", "", "No.",
     "The answer is that I cannot help is a song."],
)  # fmt: skip
def test_answers_are_no_refusals(text: str) -> None:
    assert not refuses(text)


@pytest.mark.parametrize(
    "text",
    ["The passages do not mention it.", "It is not stated in the text.", "I don't know.",
     "There is no information about this.", "It cannot be determined.", "Unknown.",
     "The text doesn't explicitly say which."],
)  # fmt: skip
def test_abstentions(text: str) -> None:
    assert abstains(text)


@pytest.mark.parametrize("text", ["Minnow.", "No, it was red.", "It was not red.", "Yes."])
def test_answers_are_no_abstentions(text: str) -> None:
    assert not abstains(text)


@pytest.mark.parametrize(
    "text",
    ["the cat sat " * 20, "ja" * 60, "Well. " + "I do not know what to say. " * 10 + "I do not",
     "\n".join(["- item"] * 20), "好的" * 40, ("x" * 300 + "\n") * 5],
)  # fmt: skip
def test_loops(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    ["", "ha ha ha", "very, very, very good", POEM, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
     "Yes. Yes. Yes."],
)  # fmt: skip
def test_no_loops(text: str) -> None:
    assert not loops(text)
