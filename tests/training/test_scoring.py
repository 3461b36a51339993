"""Texts of records to be scored, and figures of how well they are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.training.scoring import field_texts, fields_text, known, roc_auc, spearman

LABELS = st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]), min_size=2, max_size=40)


def test_fields_are_named_and_blank_ones_left_out() -> None:
    fields = {"rule": "No ads.", "examples": ("Buy!", " ", "Sale!"), "none": (), "note": " \n"}
    assert field_texts(fields) == ["Rule: No ads.", "Examples:\n- Buy!\n- Sale!"]
    assert fields_text(fields) == "Rule: No ads.\nExamples:\n- Buy!\n- Sale!"


@given(LABELS, st.randoms(use_true_random=False))
def test_the_area_is_the_share_of_pairs_in_order(labels: list[float], random: object) -> None:
    scores = [random.choice([0.1, 0.3, 0.3, 0.9]) for _ in labels]  # type: ignore[attr-defined]
    rated = list(zip(labels, scores, strict=True))
    pairs = [(high, low) for a, high in rated if a > 0.5 for b, low in rated if b < 0.5]
    found = roc_auc(labels, scores)
    if not pairs:
        assert found is None
        return
    right = sum(1.0 if high > low else 0.5 if high == low else 0.0 for high, low in pairs)
    assert found == pytest.approx(right / len(pairs))


@given(LABELS, st.randoms(use_true_random=False))
def test_spearman_is_scipys(first: list[float], random: object) -> None:
    from scipy.stats import spearmanr

    second = [random.choice([0.1, 0.3, 0.9]) for _ in first]  # type: ignore[attr-defined]
    found = spearman(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
        return
    assert found == pytest.approx(float(spearmanr(first, second).statistic))


def test_a_figure_that_does_not_exist_is_left_out() -> None:
    assert known({"roc_auc": None, "accuracy": 1}) == {"accuracy": 1.0}
    assert roc_auc([], []) is None
    assert spearman([1.0], [1.0]) is None
    assert not math.isnan(roc_auc([0.0, 1.0], [0.5, 0.5]) or 0.0)
