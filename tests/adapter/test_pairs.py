"""Labelled pairs: figures against scipy's and scikit-learn's, files read with clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from loragraft.adapter.pairs import Pairs, best_threshold, compare_pairs, read_pairs, score_pairs
from loragraft.errors import InputError


def pairs_of(labels: list[float]) -> Pairs:
    texts = tuple("x" for _ in labels)
    return Pairs(texts, texts, tuple(labels))


binary = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0]), st.integers(-20, 20)), min_size=4, max_size=40
).filter(lambda rows: len({label for label, _ in rows}) == 2)


@settings(deadline=None)
@given(binary)
def test_figures_are_those_of_scikit_learn(rows: list[tuple[float, int]]) -> None:
    labels = [label for label, _ in rows]
    scores = np.array([score / 20 for _, score in rows])
    found = score_pairs(pairs_of(labels), scores, identical=False)
    assert found.roc_auc == pytest.approx(roc_auc_score(labels, scores))
    if len(set(scores)) > 1:
        assert found.spearman == pytest.approx(spearmanr(scores, labels).statistic)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    c = found.confusion
    assert c is not None
    assert found.threshold is not None
    said = scores >= found.threshold
    (tn, fp), (fn, tp) = confusion_matrix(np.array(labels) == 1, said, labels=[False, True])
    assert (c.true_positive, c.false_positive, c.false_negative, c.true_negative) == (
        tp, fp, fn, tn,
    )  # fmt: skip
    gain = tp / (tp + fn) - fp / (fp + tn)
    assert gain == pytest.approx(max(tpr[1:] - fpr[1:]))


def test_graded_labels_have_no_roc() -> None:
    found = score_pairs(pairs_of([0, 2.5, 5]), np.array([0.1, 0.5, 0.9]), identical=False)
    assert found.spearman == pytest.approx(1)
    assert found.roc_auc is None
    assert found.confusion is None


def test_constant_and_broken_scores_have_no_figure() -> None:
    assert score_pairs(pairs_of([0, 1]), np.array([0.5, 0.5]), identical=False).spearman is None
    assert score_pairs(pairs_of([0, 1]), np.array([0.5, np.nan]), identical=False).roc_auc is None


def test_the_highest_of_equal_thresholds_counts() -> None:
    threshold, confusion = best_threshold(
        np.array([0.9, 0.8, 0.2]), np.array([True, False, False])
    )  # fmt: skip
    assert threshold == 0.9
    assert (confusion.true_positive, confusion.true_negative) == (1, 2)


def test_equal_models_are_said_in_so_many_words() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(8, 4)).astype(np.float32)
    other = vectors + np.float32(0.1)
    report = compare_pairs(
        pairs_of([0, 1, 0, 1]), {"base": vectors, "wrapper": vectors.copy(), "inner": other}
    )
    base, wrapper, inner = list(report.lines())[1:]
    assert wrapper.endswith("identical to the baseline")
    assert "baseline" not in base
    assert "baseline" not in inner
    json.dumps(report.to_json(), allow_nan=False)


def test_jsonl_and_csv_are_read_alike(tmp_path: Path) -> None:
    rows = [("a, quoted\nline", "b", 1), ("c", "d", 0)]
    (tmp_path / "p.jsonl").write_text(
        "\n".join(json.dumps({"a": a, "b": b, "label": label}) for a, b, label in rows)
    )
    (tmp_path / "p.csv").write_text('label,a,b\n1,"a, quoted\nline",b\n0,c,d\n')
    assert read_pairs(tmp_path / "p.jsonl") == read_pairs(tmp_path / "p.csv")
    assert read_pairs(tmp_path / "p.csv").texts == ["a, quoted\nline", "c", "b", "d"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.jsonl", ""),
        ("p.jsonl", "{"),
        ("p.jsonl", "[1]\n[2]"),
        ("p.jsonl", '{"a": "x", "b": "y", "label": 1}'),
        ("p.jsonl", '{"a": "x", "b": "y", "label": 1}\n' * 2),
        ("p.jsonl", '{"a": "x", "b": "y", "label": NaN}\n' * 2),
        ("p.jsonl", '{"a": "x", "b": 3, "label": 1}\n' * 2),
        ("p.csv", "a,b\nx,y\nz,w\n"),
        ("p.csv", "a,b,label\nx,y,\nz,w,1\n"),
        ("p.csv", 'a,b,label\n"x'),
    ],
)
def test_files_that_are_no_pairs_are_refused(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError):
        read_pairs(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="JSONL or CSV"):
        read_pairs(tmp_path / "none")
