"""ROUGE and BLEU are what rouge-score and sacrebleu say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU

from loragraft.dataset.records import Embedding, TaskRecord
from loragraft.experiment.metrics.text import corpus_bleu, rouge, sanity, sentence_bleu
from tests.support.answers import asked, sample

PROSE = st.lists(
    st.sampled_from(["the", "cat", "sat", "on", "mat", "42", "Über", "."]), max_size=12
).map(" ".join)
SAID = PROSE.filter(str.strip)


def test_rouge_by_hand() -> None:
    # "the cat sat" against "the cat lay down": 2 of 3 and 2 of 4 words; 1 of 2 and 1 of 3 pairs.
    found = rouge("the cat sat", ["the cat lay down"])
    assert found["rouge1"] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert found["rouge2"] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    assert found["rougeL"] == pytest.approx(found["rouge1"])


def test_bleu_by_hand() -> None:
    # All n-grams up to three are there; three words instead of four cost exp(1 - 4/3).
    assert sentence_bleu("the cat sat", ["the cat sat on"]) == pytest.approx(71.6531, abs=1e-3)
    assert sentence_bleu("the cat sat on", ["the cat sat on"]) == pytest.approx(100)
    assert sentence_bleu("", ["the cat"]) == 0


@settings(max_examples=40)
@given(PROSE, st.lists(SAID, min_size=1, max_size=3))
def test_agree_with_their_packages(answer: str, accepted: list[str]) -> None:
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    ours = rouge(answer, accepted)
    for name, value in ours.items():
        assert value == max(scorer.score(one, answer)[name].fmeasure for one in accepted)
    theirs = BLEU(effective_order=True).sentence_score(answer, accepted).score
    assert sentence_bleu(answer, accepted) == pytest.approx(theirs)


@settings(max_examples=20)
@given(st.lists(st.tuples(PROSE, SAID), min_size=1, max_size=5))
def test_corpus_bleu_agrees(pairs: list[tuple[str, str]]) -> None:
    answers, accepted = [a for a, _ in pairs], [b for _, b in pairs]
    theirs = BLEU().corpus_score(answers, [accepted]).score
    value, signature = corpus_bleu(answers, [[one] for one in accepted])
    assert value == pytest.approx(theirs)
    assert "tok:13a" in signature


def test_corpus_bleu_takes_references_of_any_number() -> None:
    value, _ = corpus_bleu(["the cat sat on it", "a dog ran far off"],
                           [["the cat sat on it", "x"], ["a dog ran far off"]])  # fmt: skip
    assert value == pytest.approx(100)


def test_each_sample_gets_each_score() -> None:
    samples = [sample("minnow"), sample("", "q2", status="timeout"), sample("x", "q3")]
    records: dict[str, TaskRecord] = {
        "q1": asked("minnow"), "q2": asked("eel", id="q2"),
        "q3": Embedding("q3", "pair", "a", "b", 0.5),
    }  # fmt: skip
    found = {(one.question_id, one.metric): one for one in sanity().scores(samples, records)}
    assert len(found) == 18
    assert found["q1", "exact_match"].value == 1.0
    assert found["q1", "bleu"].value == pytest.approx(100)
    assert {found["q2", name].status for _, name in found} == {"timeout"}
    assert found["q3", "rouge1"].status == "unscorable"
    assert set(sanity().identity()) == {"versions", "rouge-score", "sacrebleu"}
