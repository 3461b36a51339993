"""Grounding as scores of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from loragraft.experiment.metrics.grounding.metric import BATCH, INFOS, GroundingMetric
from loragraft.experiment.metrics.grounding.overlap import OverlapSupport
from loragraft.experiment.metrics.grounding.support import Claim, Judgement
from loragraft.experiment.records import PassageShown, Sample, Score
from loragraft.rag.answering.citations import parse_citations

MILL = "The mill was built in 1784. It ground rye until the flood of 1910."
BRIDGE = "The bridge has five arches and is closed to lorries."


def passage(number: int, text: str, title: str = "") -> PassageShown:
    """Return a passage of a prompt."""
    return PassageShown(f"P{number}", f"c{number}", "d", title, 0, len(text), text, 1.0, number)


SHOWN = (passage(1, MILL, "Ottery Mill"), passage(2, BRIDGE))


def sample(answer: str, **changes: Any) -> Sample:  # noqa: ANN401
    """Return a sample with the citations that the tool finds in its answer."""
    shown = changes.get("shown", SHOWN)
    numbers = [int(one.label[1:]) for one in shown]
    citations = tuple(
        {"label": f"P{one.number}", "start": one.start, "stop": one.stop, "known": one.known}
        for one in parse_citations(answer, numbers)
    )
    made = Sample("arm", "q1", 0, "fact", None, 1, (), "ok", raw=answer, answer=answer,
                  citations=citations, shown=SHOWN)  # fmt: skip
    return replace(made, **changes)


def scores(*samples: Sample) -> list[dict[str, Score]]:
    """Score samples by words; one mapping of names for each."""
    found = list(GroundingMetric(OverlapSupport()).scores(samples, {}))
    names = len(INFOS)
    assert len(found) == names * len(samples)
    parts = [found[at : at + names] for at in range(0, len(found), names)]
    return [{one.metric: one for one in part} for part in parts]


def values(answer: str, **changes: Any) -> dict[str, float | None]:  # noqa: ANN401
    """Score one answer."""
    return {name: one.value for name, one in scores(sample(answer, **changes))[0].items()}


def test_hand_computed() -> None:
    """Three sentences: supported, contradicted, without a citation; one label that never was."""
    found = values(
        "The mill was built in 1784 [P1]. The bridge has seven arches [P2]. "
        "Rye was ground until 1910 [P1][P5]. It is pretty."
    )
    assert found == {
        "grounding_coverage": 2 / 4,  # the first, and the third in spite of P5
        "citation_recall": 1 / 4,  # the third cites what was never shown
        "citation_precision": 1 / 4,  # of P1, P2, P1, P5
        "citations": 4.0,
        "citations_fabricated": 1.0,
        "uncited_sentences": 1 / 4,
    }


def test_an_answer_without_citations() -> None:
    """0, not missing: it could have cited."""
    found = values("The mill was built in 1784.")
    assert found["grounding_coverage"] == found["citation_recall"] == 0
    assert found["citation_precision"] == found["citations"] == 0
    assert found["uncited_sentences"] == 1


def test_an_empty_answer_is_no_grounded_one() -> None:
    """Never 1."""
    assert set(values("").values()) == {0.0}


def test_a_list_of_sources_supports_nothing() -> None:
    """But what it makes up is counted."""
    found = values("The mill was built in 1784.\n\nSources:\n[P1] Ottery Mill\n[P7] Upper Mill")
    assert found["grounding_coverage"] == 0
    assert found["citations_fabricated"] == 1


def test_the_title_belongs_to_the_passage() -> None:
    """As in ALCE: an answer names what the title names."""
    assert values("The mill at Ottery was built in 1784 [P1].")["grounding_coverage"] == 1
    untitled = (passage(1, MILL),)
    assert (
        values("The mill at Ottery was built in 1784 [P1].", shown=untitled)["grounding_coverage"]
        == 0
    )


def test_shuffled_passages_lose_their_grounding() -> None:
    """The control of the next step: the same answer beside other passages."""
    answer = "The mill was built in 1784 [P1]. The bridge has five arches [P2]."
    assert values(answer)["grounding_coverage"] == 1
    turned = (passage(1, BRIDGE), passage(2, MILL))
    assert values(answer, shown=turned)["grounding_coverage"] == 0


def test_a_citation_is_known_only_if_its_passage_is_there() -> None:
    """A record that says otherwise is not believed."""
    lying = sample("The mill was built in 1784 [P4].")
    lying = replace(lying, citations=tuple({**one, "known": True} for one in lying.citations))
    (found,) = scores(lying)
    assert found["citations_fabricated"].value == 1
    assert found["grounding_coverage"].value == 0


def test_a_sample_without_an_answer_keeps_its_status() -> None:
    """In all names, without a value."""
    (first, second) = scores(sample("", status="timeout"), sample("The mill stands [P1]."))
    assert {one.status for one in first.values()} == {"timeout"}
    assert {one.value for one in first.values()} == {None}
    assert {one.status for one in second.values()} == {"ok"}


def test_each_sentence_is_told() -> None:
    """Where it stands, what it cites, and why it is not supported."""
    (found,) = scores(sample("The bridge has seven arches [P2]."))
    (told,) = found["grounding_coverage"].detail["sentences"]
    assert (told["cited"], told["supported"]) == (["P2"], False)
    assert "seven" in told["reason"]


def test_many_samples_are_scored_in_their_order() -> None:
    """More than one batch."""
    many = [replace(sample("The mill stands [P1]."), question_id=f"q{number}")
            for number in range(BATCH + 3)]  # fmt: skip
    found = GroundingMetric(OverlapSupport()).scores(many, {})
    names = list(dict.fromkeys(one.question_id for one in found))
    assert names == [one.question_id for one in many]


class Silent:
    """A judge that gives no verdict."""

    name = "silent"

    def identity(self) -> dict[str, Any]:
        """Return its name."""
        return {"support": self.name}

    def supported(self, claims: Sequence[Claim]) -> list[Judgement]:
        """Say nothing."""
        return [Judgement(None, "no verdict") for _ in claims]

    def close(self) -> None:
        """Nothing is held."""


def test_a_missing_verdict_is_missing() -> None:
    """Never a loss: counts stay, shares have no value."""
    found = {one.metric: one for one in
             GroundingMetric(Silent()).scores([sample("The mill stands [P1].")], {})}  # fmt: skip
    assert found["grounding_coverage"].status == "parse_error"
    assert found["grounding_coverage"].value is None
    assert found["citations"].value == 1


def test_values_are_finite_and_identity_names_the_support() -> None:
    """What a key is made of."""
    assert all(
        one.value is not None and math.isfinite(one.value)
        for one in scores(sample("A. B [P1]. C [P99].\n[P1]"))[0].values()
    )
    told = GroundingMetric(Silent()).identity()
    assert told["support"] == {"support": "silent"}
