"""Answers are judged as a person would judge them: hand-written cases, one question after another.

The questions are the example collection's.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from loragraft.experiment.metrics.facts.match import judge_answer


@dataclass(frozen=True)
class Asked:
    """A question with its accepted answers."""

    question: str
    accepted: tuple[str, ...]


GEAR = Asked(
    "With what gear was plankton of Loch Sorrel caught?",
    ("Moth-wing trawl", "Moth-wing"),
)
FISH = Asked(
    "Which fish was caught more often in the Pool of Ister, minnow or stickleback?",
    ("minnow",),
)
COLD = Asked(
    "In the cold, which part of the charge could be drawn from Pyrellite?",
    ("22.1 %", "22.1 percent", "22.1 per cent", "22.1%"),
)
VOLTAGE = Asked(
    "How fast did the voltage of Cendrium fall at rest?",
    ("15.5 mV per week", "15.5 millivolt per week"),
)
PARTY = Asked(
    "Who sent fewer replies on Loch Sorrel, the village angling party or the laird's angling "
    "party?",
    ("village angling party",),
)
WATER = Asked(
    "For how long does water stay in Burnt Mere on average?",
    ("95 months", "ninety-five months"),
)
SPEED = Asked(
    "In kilometres per second, what is the radial speed of Comet Ardlow?",
    ("74.5 km/s", "74.5 kilometre per second", "74.5"),
)
DAYS = Asked(
    "How many days has the remaining rhythm of the object at Ferrin Rock?",
    ("48.93 days", "48.93 d", "48.93"),
)
WORKFORCE = Asked(
    "Give the estimated workforce of Dorn Quay.",
    ("37 people", "thirty-seven people"),
)
PRIMER = Asked(
    "Was Resinane applied over two coats of primer?",
    ("no",),
)
GLOW = Asked(
    "Under an ultraviolet lamp, does Lumarel show no glow whatsoever?",
    ("yes",),
)
THEORY = Asked(
    "Was the wind theory or the twin theory the less liked view of the object at Carden Hill?",
    ("twin theory",),
)
BIRDS = Asked(
    "At the Stack of Voe, were more birds lost to seals or to ravens?",
    ("seals",),
)
ALGA = Asked(
    "Which alga was most frequent in the Pool of Ister?",
    ("Volvocella prima",),
)
CYCLES = Asked(
    "What was the cycle life of Hexalune, to the loss of a fifth?",
    ("387 cycles",),
)

CASES = [
    (
        GEAR,
        True,
        [
            "Moth-wing trawl",
            "It was caught with a moth wing trawl.",
            "Plankton was caught with a Moth-wing trawl and counted under a microscope.",
            "Not with a net but with a Moth-wing trawl.",
            "**Answer:** Moth-wing",
            "Moth-wing trawl, which is not expensive.",
            "The gear used was the Moth-wings trawl",
            "In the lake, a Moth-wing trawl was used.",
            "The Moth-wing trawl (Moth-wing) was used",
        ],
    ),
    (
        GEAR,
        False,
        [
            "It was not caught with a Moth-wing trawl.",
            "A plankton net or a Moth-wing trawl",
            "Moth-wing trawl, plankton net and bottle",
            "- Moth-wing trawl\n- plankton net",
            "It was caught with a Moth-wing trawl and a plankton net.",
            "The passages do not mention the Moth-wing trawl.",
            "With a plankton net rather than a Moth-wing trawl.",
            "The Moth-wing trawl was not used.",
            "The plankton was caught. It was sampled at noon. It used a Moth-wing trawl.",
        ],
    ),
    (
        FISH,
        True,
        [
            "minnow",
            "The minnow was caught more often than the stickleback.",
            "Minnows were caught more often.",
            "The stickleback was caught less often than the minnow.",
            "Not the stickleback but the minnow",
        ],
    ),
    (
        FISH,
        False,
        [
            "Stickleback was caught more often than minnow.",
            "minnow or stickleback",
            "Both were equally frequent",
            "The minnow and the stickleback",
            "stickleback",
        ],
    ),
    (
        COLD,
        True,
        [
            "22.1 %",
            "22.1%.",
            "0.221 of the charge",
            "About 22.1 percent of the charge could be drawn in the cold, against 90 % at "
            "room temperature.",
        ],
    ),
    (COLD, False, ["22.1", "22.1 % or 30 %", "30 %", "10 %, 22.1 %, 35 %", "22.1 %, 10 %, 35 %"]),
    (
        VOLTAGE,
        True,
        [
            "15.5 mV per week",
            "The voltage fell by 15.5 mV per week over 12 weeks",
            "15.5 mV a week",
            "15.5 mV/week",
            "2.21 mV per day",
        ],
    ),
    (VOLTAGE, False, ["15.5 V per week", "15.5 mV per day"]),
    (
        PARTY,
        True,
        [
            "The village angling party",
            "the village party",
            "The laird's angling party sent more replies than the village angling party.",
        ],
    ),
    (
        PARTY,
        False,
        [
            "the laird's angling party",
            "The laird's party sent fewer replies than the village party",
        ],
    ),
    (
        WATER,
        True,
        [
            "95 months",
            "Water stays in Burnt Mere for ninety-five months on average.",
            "7.9 years",
            "95 months (about 8 years)",
            "It is not 90 but 95 months.",
            "95-month residence time",
        ],
    ),
    (
        WATER,
        False,
        [
            "not 95 months",
            "95",
            "95 years",
            "195 months",
            "95 months or 8 months",
            "between 90 and 95 months",
            "more than 95 months",
        ],
    ),
    (SPEED, True, ["74.5", "74.5 km/s", "74500 m/s"]),
    (SPEED, False, ["74.5 m/s"]),
    (DAYS, True, ["48.93", "48.93 days", "The rhythm is 48.93 d.", "1174 hours"]),
    (DAYS, False, ["48.93 hours"]),
    (
        WORKFORCE,
        True,
        [
            "37",
            "37 workers",
            "One study estimated 37 people.",
            "thirty-seven",
            "about 37 persons worked there in 3 shifts",
        ],
    ),
    (WORKFORCE, False, ["37 days", "370 people"]),
    (
        PRIMER,
        True,
        [
            "No",
            "No, it was applied over one coat.",
            "Resinane was not applied over two coats of primer.",
            "The answer is no.",
            "It is false.",
        ],
    ),
    (
        PRIMER,
        False,
        [
            "Yes.",
            "Resinane was applied over two coats of primer.",
            "Resinane was applied over one coat.",
            "The passage does not say whether Resinane was applied over two coats of primer.",
            "Yes and no",
            "no doubt",
            "No primer",
        ],
    ),
    (
        GLOW,
        True,
        [
            "Yes",
            "Lumarel shows no glow whatsoever under an ultraviolet lamp.",
            "Yes, it shows no glow.",
        ],
    ),
    (GLOW, False, ["Lumarel glows under an ultraviolet lamp"]),
    (
        THEORY,
        True,
        [
            "the twin theory",
            "The twin theory was less liked than the wind theory.",
            "The wind theory was more liked than the twin theory.",
        ],
    ),
    (THEORY, False, ["The wind theory"]),
    (BIRDS, True, ["seals", "More birds were lost to seals than to ravens."]),
    (BIRDS, False, ["ravens"]),
    (ALGA, True, ["Volvocella prima was the most frequent alga."]),
    (ALGA, False, ["Volvocella prima and Daphnia", "Volvocella"]),
    (
        CYCLES,
        True,
        [
            "387 cycles",
            "It lasted 387 cycles to the loss of 20 %.",
            "At a loss of a fifth, after 387 cycles.",
        ],
    ),
    (CYCLES, False, ["387 days"]),
]


@pytest.mark.parametrize(
    ("asked", "right", "answer"),
    [(asked, right, answer) for asked, right, answers in CASES for answer in answers],
)
def test_by_hand(asked: Asked, right: bool, answer: str) -> None:
    verdict = judge_answer(answer, asked.accepted, asked.question)
    assert verdict.right == right, verdict
    assert verdict.reason
