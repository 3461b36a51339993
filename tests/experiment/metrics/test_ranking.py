"""Rank measures are what scipy and scikit-learn say, and what a hand finds."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score, roc_auc_score

from loragraft.experiment.metrics.ranking import (
    choose_threshold,
    confusion,
    positives,
    ranks,
    roc_auc,
    spearman,
)

NUMBERS = st.lists(st.integers(-5, 5).map(lambda n: n / 4), min_size=2, max_size=30)


def test_auc_by_hand() -> None:
    # Pairs of a positive with a negative: 0.9>0.5, 0.9>0.1, 0.5=0.5, 0.5>0.1: 3.5 of 4.
    assert roc_auc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == 3.5 / 4
    assert roc_auc([0.9, 0.5], [True, True]) is None
    assert roc_auc([], []) is None


def test_spearman_by_hand() -> None:
    assert spearman([1, 2, 3], [10, 20, 15]) == pytest.approx(0.5)  # 1 - 6·2 / (3·8)
    assert spearman([1, 2, 3], [9, 9, 9]) is None
    assert spearman([1], [1]) is None


def test_confusion_by_hand() -> None:
    found = confusion([0.9, 0.5, 0.4, 0.1], [True, False, True, False], 0.5)
    counts = (found.true_positives, found.false_positives, found.true_negatives)
    assert (*counts, found.false_negatives) == (1, 1, 1, 1)
    assert (found.accuracy, found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5, 0.5)
    nothing = confusion([0.1], [False], 0.5)
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, None, None)
    assert confusion([], [], 0.5).accuracy is None


def test_threshold_by_hand() -> None:
    # Between 0.4 and 0.6, no decision is wrong.
    assert choose_threshold([0.1, 0.4, 0.6, 0.9], [False, False, True, True]) == 0.5
    assert choose_threshold([0.3, 0.3], [True, False]) is None
    assert choose_threshold([0.3, 0.4], [True, True]) is None


@settings(max_examples=20)
@given(NUMBERS, st.data())
def test_agree_with_their_packages(scores: list[float], data: st.DataObject) -> None:
    size = len(scores)
    labels = data.draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=size,
                                max_size=size))  # fmt: skip
    assert ranks(scores) == rankdata(scores).tolist()
    ours = spearman(scores, labels)
    if len(set(scores)) > 1 and len(set(labels)) > 1:
        assert ours == pytest.approx(spearmanr(scores, labels).statistic, abs=1e-9)
    else:
        assert ours is None
    yes = positives(labels)
    if len(set(yes)) == 2:
        assert roc_auc(scores, yes) == pytest.approx(roc_auc_score(yes, scores))
    table = confusion(scores, yes, 0.25)
    said = [score >= 0.25 for score in scores]
    tn, fp, fn, tp = confusion_matrix(yes, said, labels=[False, True]).ravel().tolist()
    assert (tn, fp, fn, tp) == (table.true_negatives, table.false_positives,
                                table.false_negatives, table.true_positives)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sklearn warns where a share has no denominator
        for value, theirs in ((table.precision, precision_score(yes, said)),
                              (table.recall, recall_score(yes, said)),
                              (table.f1, f1_score(yes, said))):  # fmt: skip
            assert (value or 0.0) == pytest.approx(theirs)


@settings(max_examples=40)
@given(NUMBERS, st.data())
def test_no_threshold_is_better(scores: list[float], data: st.DataObject) -> None:
    yes = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    chosen = choose_threshold(scores, yes)
    if chosen is None:
        assert len(set(yes)) < 2 or len(set(scores)) < 2
        return

    def youden(threshold: float) -> float:
        table = confusion(scores, yes, threshold)
        no = table.true_negatives + table.false_positives
        return (table.recall or 0.0) + table.true_negatives / no

    values = sorted(set(scores))
    assert all(youden(chosen) >= youden(one) - 1e-12 for one in values[1:])
    assert values[0] < chosen < values[-1]
