"""Citation recall and precision, against hand-computed cases and another reading of ALCE."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.experiment.metrics.grounding.alce import Answered, Grade, grade, mean
from loragraft.experiment.metrics.grounding.claims import Statement
from loragraft.experiment.metrics.grounding.support import JOINT, Claim, Judgement

SHOWN = {f"P{number}": f"passage {number}" for number in range(1, 5)}


def statement(number: int, *labels: str) -> Statement:
    """Return a sentence that cites."""
    cited = tuple(label for label in dict.fromkeys(labels) if label in SHOWN)
    fabricated = tuple(label for label in dict.fromkeys(labels) if label not in SHOWN)
    return Statement(f"sentence {number}", 0, 1, cited, fabricated)


class Judge:
    """Supports what it is told to; counts what it is asked."""

    def __init__(self, supported: dict[str, Sequence[tuple[str, ...]]]) -> None:
        """Take, by sentence, the sets of labels that support it."""
        self.supported = supported
        self.asked: list[Claim] = []

    def __call__(self, claims: Sequence[Claim]) -> list[Judgement]:
        """Judge."""
        self.asked += claims
        return [Judgement(self.verdict(*claim)) for claim in claims]

    def verdict(self, claim: str, passage: str) -> bool:
        """Whether exactly these passages support a sentence."""
        labels = tuple(f"P{part.removeprefix('passage ')}" for part in passage.split(JOINT))
        return labels in self.supported.get(claim, ())


def graded(judge: Judge, *said: Statement) -> tuple[Grade, ...]:
    """Grade one answer."""
    return grade([Answered(said, SHOWN)], judge)[0]


def test_one_citation_that_supports() -> None:
    """Recall and precision 1."""
    judge = Judge({"sentence 1": [("P1",)]})
    assert graded(judge, statement(1, "P1")) == (Grade(True, True, (True,)),)
    assert len(judge.asked) == 1


def test_one_citation_that_does_not() -> None:
    """Recall and precision 0."""
    assert graded(Judge({}), statement(1, "P2")) == (Grade(False, False, (False,)),)


def test_no_citation() -> None:
    """Recall 0, nothing to be precise, nobody asked."""
    judge = Judge({})
    (found,) = graded(judge, statement(1))
    assert (found.covered, found.recalled, found.precise) == (False, False, ())
    assert judge.asked == []


def test_two_citations_that_support_only_together() -> None:
    """Both are needed: neither is irrelevant."""
    judge = Judge({"sentence 1": [("P1", "P2")]})
    assert graded(judge, statement(1, "P1", "P2")) == (Grade(True, True, (True, True)),)


def test_one_citation_too_many() -> None:
    """P2 does not support alone, and P1 does without it: P2 is irrelevant."""
    judge = Judge({"sentence 1": [("P1", "P2"), ("P1",)]})
    assert graded(judge, statement(1, "P1", "P2")) == (Grade(True, True, (True, False)),)


def test_one_supports_but_all_together_do_not() -> None:
    """Covered by one citation; ALCE's recall asks all, and without recall nothing is precise."""
    judge = Judge({"sentence 1": [("P1",)]})
    assert graded(judge, statement(1, "P1", "P2")) == (Grade(True, False, (False, False)),)


def test_a_fabricated_citation_costs_recall_and_precision() -> None:
    """As in the authors' code; the sentence is covered all the same."""
    judge = Judge({"sentence 1": [("P1",)]})
    assert graded(judge, statement(1, "P1", "P9")) == (Grade(True, False, (False, False)),)


def test_each_claim_is_judged_once() -> None:
    """The same sentence with the same passage in two answers is one question."""
    judge = Judge({"sentence 1": [("P1",)]})
    answers = [Answered((statement(1, "P1"),), SHOWN)] * 3
    grade(answers, judge)
    assert judge.asked == [("sentence 1", "passage 1")]


def test_missing_verdicts_stay_missing() -> None:
    """Nobody knows: neither yes nor no; but what one yes decides is decided."""

    def silent(claims: Sequence[Claim]) -> list[Judgement]:
        return [Judgement(None) for _ in claims]

    (found,) = grade([Answered((statement(1, "P1"),), SHOWN)], silent)[0]
    assert (found.covered, found.recalled, found.precise) == (None, None, (None,))

    def one_silent(claims: Sequence[Claim]) -> list[Judgement]:
        return [Judgement(None if JOINT in passage else True) for _, passage in claims]

    (found,) = grade([Answered((statement(1, "P1", "P2"),), SHOWN)], one_silent)[0]
    assert (found.covered, found.recalled, found.precise) == (True, None, (None, None))


@pytest.mark.parametrize(
    ("verdicts", "value"),
    [([], 0.0), ([True], 1.0), ([True, False, False, True], 0.5), ([True, None], None)],
)
def test_mean(verdicts: list[bool | None], value: float | None) -> None:
    """0 of nothing, as in the authors' code; missing where one is missing."""
    assert mean(verdicts) == value


def reference(
    cited: Sequence[Sequence[str]], entails: frozenset[tuple[int, frozenset[str]]]
) -> tuple[Fraction, Fraction]:
    """Compute recall and precision as ALCE's paper says, sentence after sentence.

    A citation that was never shown makes its sentence unsupported (their eval.py); precision is
    averaged over all citations of the answer (§3.3).
    """
    recalls, precisions = [], []
    for number, labels in enumerate(cited):
        citations = list(dict.fromkeys(labels))
        legal = all(label in SHOWN for label in citations)
        recall = bool(citations) and legal and (number, frozenset(citations)) in entails
        recalls.append(recall)
        for citation in citations:
            alone = (number, frozenset([citation])) in entails
            others = frozenset(citations) - {citation}
            irrelevant = not alone and bool(others) and (number, others) in entails
            precisions.append(recall and not irrelevant)

    def average(values: Sequence[bool]) -> Fraction:
        return Fraction(sum(values), len(values)) if values else Fraction(0)

    return average(recalls), average(precisions)


LABELS = ["P1", "P2", "P3", "P4", "P7"]
SETS = st.frozensets(st.sampled_from(LABELS[:4]), min_size=1)


@given(
    cited=st.lists(st.lists(st.sampled_from(LABELS), max_size=4), max_size=5),
    entails=st.frozensets(st.tuples(st.integers(0, 4), SETS), max_size=40),
)
def test_agrees_with_another_reading(
    cited: list[list[str]], entails: frozenset[tuple[int, frozenset[str]]]
) -> None:
    """Whatever is cited and whatever supports what."""

    def judge(claims: Sequence[Claim]) -> list[Judgement]:
        found = []
        for claim, passage in claims:
            labels = frozenset(f"P{part[-1]}" for part in passage.split(JOINT))
            found.append(Judgement((int(claim.split()[-1]), labels) in entails))
        return found

    said = tuple(statement(number, *labels) for number, labels in enumerate(cited))
    grades = grade([Answered(said, SHOWN)], judge)[0]
    recall = mean([one.recalled for one in grades])
    precision = mean([verdict for one in grades for verdict in one.precise])
    wanted = reference(cited, entails)
    assert (recall, precision) == (float(wanted[0]), float(wanted[1]))
    assert all(one.covered for one in grades if one.recalled)
