"""What was found, by hand and against scikit-learn, and why wrong answers are wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import dcg_score

from loragraft.dataset.records import Reply
from loragraft.experiment.metrics.retrieval import (
    MISSES,
    NOT_RETRIEVED,
    NOT_SHOWN,
    NOT_USED,
    USED_WRONG,
    misses,
    retrieval,
)
from loragraft.experiment.records import PassageShown, Sample
from tests.support.answers import asked, cite, found, sample, shown

GOLD = ("lake#100-160", "sea#0-50")


def measured(one: Sample, evidence: tuple[str, ...], k: int = 10) -> dict[str, float | None]:
    records = {"q1": asked("eel", evidence=evidence)}
    return {score.metric: score.value for score in retrieval(k).scores([one], records)}


def test_by_hand() -> None:
    passages = (found("lake", 0, 90), found("lake", 90, 300), found("sea", 400, 500))
    values = measured(sample(retrieved=passages), GOLD)
    assert values["recall@10"] == 0.5
    assert values["mrr@10"] == 0.5
    # One of two at rank 2: 1/log2(3) of 1 + 1/log2(3).
    assert values["ndcg@10"] == pytest.approx(0.63093 / 1.63093, abs=1e-4)
    assert measured(sample(retrieved=passages), GOLD, 1)["recall@1"] == 0.0


def test_what_one_passage_holds_together_counts_once() -> None:
    both = ("lake#100-160", "lake#170-200")
    values = measured(sample(retrieved=(found("lake", 90, 300),)), both)
    assert values == pytest.approx(dict.fromkeys(values, 1.0))


def test_finding_a_passage_again_counts_for_nothing() -> None:
    overlapping = (found("lake", 90, 300), found("lake", 95, 400), found("sea", 0, 100))
    values = measured(sample(retrieved=overlapping), GOLD)
    assert values["recall@10"] == 1.0
    assert values["ndcg@10"] == pytest.approx((1 + 0.5) / 1.63093, abs=1e-4)


def test_a_passage_that_only_touches_the_gold_does_not_hold_it() -> None:
    assert measured(sample(retrieved=(found("lake", 0, 110),)), GOLD[:1])["recall@10"] == 0.0


def test_a_whole_document_is_held_by_any_of_its_passages() -> None:
    assert measured(sample(retrieved=(found("lake", 0, 9),)), ("lake",))["recall@10"] == 1.0


@settings(max_examples=25)
@given(st.lists(st.integers(0, 14), min_size=2, max_size=10, unique=True),
       st.sets(st.integers(0, 14), min_size=1, max_size=6))  # fmt: skip
def test_ndcg_agrees_with_scikit_learn(order: list[int], gold: set[int]) -> None:
    passages = tuple(found("d", 100 * number, 100 * number + 50) for number in order)
    evidence = tuple(f"d#{100 * number}-{100 * number + 50}" for number in sorted(gold))
    hits = [float(number in gold) for number in order] + [0.0] * (15 - len(order))
    ideal = [1.0] * len(gold) + [0.0] * (15 - len(gold))
    ranked = [[float(-rank) for rank in range(15)]]
    theirs = dcg_score([hits], ranked, k=10) / dcg_score([ideal], ranked, k=10)
    assert measured(sample(retrieved=passages), evidence)["ndcg@10"] == pytest.approx(theirs)


def test_without_gold_nothing_is_said() -> None:
    scores = list(retrieval(5).scores([sample()], {"q1": asked("eel")}))
    assert {score.status for score in scores} == {"unscorable"}
    reply = {"q1": Reply("q1", "chat", "hello", "hi")}
    assert {one.status for one in retrieval(5).scores([sample()], reply)} == {"unscorable"}


def lost(
    answer: str,
    passages: tuple[PassageShown, ...] = (),
    **changes: Any,  # noqa: ANN401
) -> str | None:
    record = asked("eel", question="Which fish is rare?", evidence=("lake#100-160",))
    one = sample(answer, shown=passages, **changes)
    values = {
        score.metric: score.value
        for score in misses(lambda s, r: s.answer == "eel").scores([one], {"q1": record})
    }
    assert sum(value or 0 for value in values.values()) <= 1
    assert set(values) == set(MISSES)
    return next((name for name, value in values.items() if value), None)


def test_each_wrong_answer_has_one_reason() -> None:
    gold = shown("P1", "lake", 90, 300, "The eel is rare in the northern basin.")
    other = shown("P2", "lake", 300, 500, "Trout are common.")
    assert lost("eel", (other,)) is None
    assert lost("trout", (other,)) == NOT_RETRIEVED
    assert lost("trout", (other,), retrieved=(found("lake", 90, 300),)) == NOT_SHOWN
    assert lost("trout", (gold, other)) == NOT_USED
    assert lost("the northern basin", (gold, other)) == USED_WRONG
    wrong = "trout [P1]"
    assert lost(wrong, (gold, other), citations=(cite(wrong, "[P1]", "P1"),)) == USED_WRONG
    wrong = "northern basin [P2]"
    assert lost(wrong, (gold, other), citations=(cite(wrong, "[P2]", "P2"),)) == NOT_USED
    assert lost("", (gold,)) == NOT_USED


def test_missing_answers_are_no_misses() -> None:
    record = asked("eel", evidence=("lake#100-160",))
    scores = misses(lambda s, r: False).scores([sample(status="timeout")], {"q1": record})
    assert {(score.status, score.value) for score in scores} == {("timeout", None)}
