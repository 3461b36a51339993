"""What raters say, on the page."""

import dataclasses
import json
from collections.abc import Mapping

import pytest

from loragraft.experiment.analysis.model import Browsable
from loragraft.experiment.analysis.numbers import NONE
from loragraft.experiment.human.blind import BlindKey, BlindRow
from loragraft.experiment.human.ratings import Ratings
from loragraft.experiment.human.summary import summarise_ratings
from loragraft.experiment.judge.pairwise import Outcome
from loragraft.experiment.page.make import render
from tests.experiment.page.reading import Reader
from tests.support.report_data import BASELINE, HYBRID, made

ROWS = tuple(
    BlindRow(f"r-{n}", f"q-{n}", 0, "a", f"question {n}", f"one {n}", f"two {n}") for n in range(5)
)
KEY = BlindKey("x14", HYBRID, BASELINE, 1, ROWS, "p.csv")


def rater(name: str, votes: Mapping[str, Outcome]) -> Ratings:
    return Ratings("x14", name, votes, sum(vote == "a" for vote in votes.values()), {}, "0" * 64)


ADA = rater("ada", {"r-0": "a", "r-1": "a", "r-2": "b", "r-3": "tie"})
BEN = rater("ben", {"r-0": "a", "r-1": "b", "r-2": "b", "r-3": "tie"})


def told(*ratings: Ratings, as_json: bool = False) -> str:
    """Return what the page says where its summary is fresh, or read from JSON."""
    said = summarise_ratings(KEY, ratings).to_json()
    human = {"x14": json.loads(json.dumps(said)) if as_json else said}
    analysis = dataclasses.replace(made(20).analysis, human=human, judged=())
    return Reader(render(analysis, Browsable((), ()))).text


@pytest.mark.parametrize("as_json", [False, True], ids=["tuples", "lists"])
def test_two_raters_stand_with_their_majority_and_agreement(as_json: bool) -> None:
    text = told(ADA, BEN, as_json=as_json)
    assert f"What raters say of {HYBRID} against {BASELINE}: 5 blind pairs, x14." in text
    for row in ("ada4 2 / 1 / 1 62.5 %66.7 %", "ben4 1 / 1 / 2 37.5 %33.3 %",
                f"majority4 1 / 2 / 1 50.0 %{NONE}"):  # fmt: skip
        assert row.replace(" ", "") in text.replace(" ", "")
    assert "ada and ben agree on 75.0 % of 4 pairs, kappa 0.636." in text
    assert "Fleiss' kappa 0.619 over 4 pairs that all have rated." in text


def test_one_rater_agrees_with_nobody() -> None:
    text = told(ADA)
    assert "majority" in text
    assert "agree on" not in text


def test_raters_of_different_pairs_have_none_in_common() -> None:
    text = told(rater("ada", {"r-0": "a"}), rater("ben", {"r-4": "b"}))
    assert "ada and ben have no pair in common." in text


@pytest.mark.parametrize("ratings", [(), (rater("ada", {}),)], ids=["no files", "an empty file"])
def test_pairs_that_nobody_has_rated_are_told_as_such(ratings: tuple[Ratings, ...]) -> None:
    text = told(*ratings)
    assert (f"5 blind pairs of {HYBRID} against {BASELINE} were written for raters, x14: nobody "
            "has rated any yet.") in text  # fmt: skip
    assert "What raters say" not in text


def test_no_export_has_no_section() -> None:
    analysis = dataclasses.replace(made(20).analysis, human=None, judged=())
    assert "The judge, and people" not in Reader(render(analysis, Browsable((), ()))).text
