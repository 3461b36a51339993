"""The default support test: what it recognises, what it refuses, and that nothing breaks it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragraft.embedding.static import StaticEmbedder
from loragraft.experiment.metrics.grounding.overlap import SUPPORTED, OverlapSupport
from loragraft.experiment.metrics.grounding.support import JOINT

MILL = (
    "The mill at Ottery was built in 1784 by Anna Reed and ground rye for the garrison. It has two "
    "wheels of 3.2 metres, of which only one still turns. The flood of 1910 may have moved its "
    "southern wall. Visits are not possible in winter."
)


def judged(claim: str, passage: str = MILL) -> tuple[bool | None, str]:
    """Return verdict and reason, by words alone."""
    (found,) = OverlapSupport().supported([(claim, passage)])
    return found.supported, found.reason


@pytest.mark.parametrize(
    "claim",
    [
        "The mill at Ottery was built in 1784 by Anna Reed and ground rye for the garrison.",
        "Anna Reed built the mill at Ottery in 1784.",
        "Rye was ground for the garrison.",
        "Its two wheels measure 320 cm.",
        "Only one of the wheels still turns.",
        "The flood of 1910 may have moved the southern wall.",
        "In winter visits are not possible.",
        "1784.",
    ],
)
def test_supported(claim: str) -> None:
    """Repeated, moved, in another unit, in few words."""
    assert judged(claim)[0] is True


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        ("The mill was built in 1748.", "1748"),
        ("The mill has three wheels of 3.2 metres.", "three wheels"),
        ("It has two wheels of 3.2 feet.", "3.2"),
        ("The mill was built in 1784 by Bertha Reed.", "Bertha"),
        ("The mill ground barley for the garrison.", "barley"),
        ("The flood of 1910 may have moved its northern wall.", "northern"),
        ("The flood of 1910 moved its southern wall.", "may"),
        ("Visits are possible in winter.", "denies"),
        ("Visits are not possible in summer.", "summer"),
        ("The mill at Ottery was not built in 1784.", "denies"),
        ("All wheels of the mill still turn.", "all"),
    ],
)
def test_near_misses_are_refused_with_a_reason(claim: str, word: str) -> None:
    """Another number, unit, name, thing, or certainty; a denial; turned round."""
    supported, reason = judged(claim)
    assert supported is False
    assert word in reason


def test_who_does_what_is_looked_at() -> None:
    """The right words in each other's places."""
    passage = "The guild paid the miller 40 crowns. The miller owed the bank nothing."
    assert judged("The guild paid the miller 40 crowns.", passage)[0] is True
    assert judged("The miller paid the guild 40 crowns.", passage)[0] is False
    assert judged("The miller was paid 40 crowns by the guild.", passage)[0] is True


def test_whose_number_it_is_is_looked_at() -> None:
    """A number of the passage that belongs to something else."""
    passage = "The upper wheel makes 12 turns a minute. The lower one makes 9 turns a minute."
    assert judged("The upper wheel makes 12 turns a minute.", passage)[0] is True
    assert judged("The upper wheel makes 9 turns a minute.", passage)[0] is False


@pytest.mark.parametrize("text", ["", " ", "\n\n", "...", "the of and", "[]"])
def test_nothing_supports_nothing(text: str) -> None:
    """A blank claim, or one of function words alone; a blank passage."""
    assert judged(text)[0] is False
    assert judged("The mill was built in 1784.", text)[0] is False


def test_passages_together() -> None:
    """What only both say is supported by both."""
    other = "Rye from Ottery fed 300 soldiers."
    claim = "The mill at Ottery ground rye for the garrison, and 300 soldiers were fed."
    assert judged(claim)[0] is False
    assert judged(claim, JOINT.join((MILL, other)))[0] is True


def test_company_changes_nothing(static: StaticEmbedder) -> None:
    """Alone, in another order, asked again: the same judgements."""
    claims = [(claim, MILL) for claim in (
        "Somebody put up a building for grinding corn.", "The mill stands.", "Bees collect pollen.",
        "A garrison ate bread made of what it ground.",
    )]  # fmt: skip
    support = OverlapSupport(static)
    together = support.supported(claims)
    assert together == support.supported(claims)
    assert together == OverlapSupport(static).supported(claims[::-1])[::-1]
    assert together == [OverlapSupport(static).supported([one])[0] for one in claims]


def test_scores_are_shares_and_the_reason_names_the_threshold(static: StaticEmbedder) -> None:
    """For people who wonder."""
    (found,) = OverlapSupport(static).supported([("Bees collect pollen.", MILL)])
    assert set(found.scores) == {"words", "meaning", "overlap"}
    assert all(0 <= value <= 1 for value in found.scores.values())
    assert found.reason.endswith(f"below {SUPPORTED}")


def test_identity_names_the_embedder(static: StaticEmbedder) -> None:
    """What a key is made of; no path in it."""
    told = OverlapSupport(static).identity()
    assert told["embedder"] == dict(static.identity)
    assert OverlapSupport().identity()["embedder"] is None


@pytest.mark.slow
def test_meaning_recognises_what_words_do_not(minilm_folder: Path) -> None:
    """With the real embedder: a paraphrase without a common word, and one about something else."""
    from loragraft.embedding.opening import open_embedder
    from loragraft.embedding.spec import EmbedderSpec

    passage = "Physicians advise drinking plenty of water when it is hot outside."
    claims = [
        ("Doctors recommend high fluid intake during heat.", passage),
        ("Sailors mend nets during calm.", passage),
    ]
    embedder = open_embedder(EmbedderSpec(str(minilm_folder)))
    same, other = OverlapSupport(embedder).supported(claims)
    assert [one.supported for one in OverlapSupport().supported(claims)] == [False, False]
    assert same.scores["meaning"] > 2 * other.scores["meaning"]
    assert other.supported is False


TEXTS = st.text(alphabet="aAbc not 12.,-%°C\n()é'", max_size=120)


@settings(max_examples=60)
@given(claim=TEXTS, passage=TEXTS)
def test_any_texts_can_be_judged(claim: str, passage: str) -> None:
    """A verdict, a reason in one line, finite scores."""
    (found,) = OverlapSupport().supported([(claim, passage)])
    assert isinstance(found.supported, bool)
    assert found.reason
    assert "\n" not in found.reason
    assert all(math.isfinite(value) for value in found.scores.values())


def test_endless_texts_are_read_in_their_beginning() -> None:
    """A hostile record is judged; what grows with the square of a length is bounded."""
    words = [f"word{number}" for number in range(2_000)]
    assert judged(" ".join(words), ", ".join(words[::-1]))[0] is False
    assert judged("1 " * 2_000, "1, 2 " * 2_000)[0] in (True, False)
