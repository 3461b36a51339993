"""Numbers that follow from others, forms of a word, ordinals, and words for all."""

from __future__ import annotations

import pytest

from loragraft.experiment.metrics.grounding.overlap import OverlapSupport
from loragraft.experiment.metrics.grounding.reading import stem

PARK = (
    "The park at Lunde has twelve turbines, each of which yields 3.5 MW. The first gearbox held "
    "from 1990 to 1997, the second gearbox until 2004. Repairs took 20 minutes by day and 25 "
    "minutes by night. Some 2,310 visitors came, 310 visitors fewer than before. Storms began in "
    "May, and nobody knows why."
)


def judged(claim: str) -> tuple[bool | None, str]:
    """Return verdict and reason, by words alone."""
    (found,) = OverlapSupport().supported([(claim, PARK)])
    return found.supported, found.reason


@pytest.mark.parametrize(
    "claim",
    [
        "Repairs by day and by night took 45 minutes together.",  # 20 + 25
        "Repairs took 5 minutes more by night than by day.",  # 25 - 20
        "Repairs took three quarters of an hour by day and night together.",
        "The twelve turbines of the park at Lunde yield 42 MW.",  # 12 * 3.5, each
        "More than two thousand visitors came.",
        "Fewer than 2,500 visitors came.",
        "Storms begin in May.",
    ],
)
def test_what_follows_is_no_objection(claim: str) -> None:
    assert judged(claim)[0] is True, judged(claim)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("The first gearbox held for 8 years.", "8 years"),
        ("Repairs by day and by night took 46 minutes together.", "46 minutes"),
        ("The twelve turbines of the park at Lunde yield 43 MW.", "43 MW"),
        ("More than three thousand visitors came.", "three thousand"),
        ("More than a thousand visitors came.", "thousand"),  # true, and nobody says so
        ("Fewer than 2,000 visitors came.", "2,000"),
        ("The second gearbox held from 1990 to 1997, as a third gearbox did.", "third"),
        ("Storms began everywhere in May.", "everywhere"),
    ],
)
def test_what_does_not_follow_is_one(claim: str, said: str) -> None:
    supported, reason = judged(claim)
    assert supported is False
    assert said in reason


def test_numbers_of_other_kinds_are_not_added() -> None:
    """Two years are no sum, an amount and a count are none, nor are degrees."""
    passage = "In 1990 the oven had 20 °C, in 1991 it had 25 °C and held 30 loaves."
    claims = ["The oven had 45 °C.", "It held 3981 loaves.", "It held 50 loaves."]
    found = OverlapSupport().supported([(claim, passage) for claim in claims])
    assert [one.supported for one in found] == [False, False, False]


def test_years_between_two() -> None:
    passage = "The ferry ran from 1990 to 1997. A bridge took its place in 2004."
    claims = ["The ferry ran for 7 years.", "The ferry ran for 14 years.", "The ferry ran 6 years."]
    found = OverlapSupport().supported([(claim, passage) for claim in claims])
    assert [one.reason.startswith("14") for one in found] == [False, False, False]  # 2004 - 1990
    assert [one.supported for one in found] == [True, True, False]


def test_forms_of_a_word_have_one_stem() -> None:
    for forms in (("begin", "began", "begun", "begins"), ("build", "built", "building"),
                  ("child", "children"), ("write", "wrote", "written", "writes")):  # fmt: skip
        assert len({stem(form) for form in forms}) == 1, forms
