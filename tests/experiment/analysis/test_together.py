"""Intervals of figures over all numbers: they hold the truth as often as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from loragraft.dataset.records import Score
from loragraft.experiment.analysis.figures import figures_of
from loragraft.experiment.analysis.together import together_intervals
from loragraft.experiment.measured import Measured
from loragraft.experiment.metrics.aggregate import ACCURACY, ROC_AUC, SPEARMAN, aggregates
from tests.support.measured import info, sample


def scored(labels: np.ndarray, outputs: np.ndarray) -> Measured:
    """Return an experiment that scored records, each a paper of its own."""
    records = {f"s-{n:04d}": Score(f"s-{n:04d}", "rule", {"body": "x"}, float(label))
               for n, label in enumerate(labels)}  # fmt: skip
    samples = [sample(name, parsed=float(value), shown=(), citations=())
               for name, value in zip(records, outputs, strict=True)]  # fmt: skip
    found = aggregates("score", samples, records)
    return Measured(info("scorer", len(records), task="score"), samples, {},
                    {one.info.name: one for one in found}, {}, records)  # fmt: skip


def drawn(generator: np.random.Generator, count: int) -> Measured:
    """Return outputs that are higher by one deviation where the label is 1."""
    labels = (generator.random(count) < 0.5).astype(float)
    outputs = stats.norm.cdf(generator.normal(labels, 1.0) - 0.5)
    return scored(labels, outputs)


def test_the_interval_of_an_accuracy_is_that_of_a_mean() -> None:
    generator = np.random.default_rng(1)
    measured = drawn(generator, 40)
    interval, lower, upper = together_intervals(measured)[ACCURACY.name]
    right = [float((one.parsed or 0) >= 0.5) == measured.records[one.question_id].label  # type: ignore[union-attr]
             for one in measured.samples]  # fmt: skip
    error = np.std(right, ddof=1) / np.sqrt(40)  # the jackknife of a mean is its standard error
    mean = np.mean(right)
    assert (interval.low, interval.high) == pytest.approx(
        (mean + stats.t.ppf(0.025, 39) * error, mean + stats.t.ppf(0.975, 39) * error)
    )
    assert (lower, upper) == pytest.approx(
        (mean + stats.t.ppf(0.05, 39) * error, mean + stats.t.ppf(0.95, 39) * error)
    )


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(20251101)
    truth = stats.norm.cdf(1 / np.sqrt(2))  # the chance of the right order
    inside = 0
    for _ in range(60):
        interval = together_intervals(drawn(generator, 80))[ROC_AUC.name][0]
        inside += interval.low <= truth <= interval.high
    assert inside >= 48  # of 60 at 95 %: fewer has a chance of one in fifty thousand


def test_where_nothing_varies_or_little_is_there_there_is_no_interval() -> None:
    labels = np.array([0.0, 1.0] * 10)
    assert together_intervals(scored(labels, labels)) == {}
    assert together_intervals(scored(labels[:4], np.array([0.1, 0.9, 0.8, 0.4]))) == {}
    one_class = scored(np.ones(20), np.linspace(0, 1, 20))
    assert ROC_AUC.name not in together_intervals(one_class)


def test_figures_carry_these_intervals() -> None:
    measured = drawn(np.random.default_rng(2), 60)
    infos = {one.name: one for one in (ROC_AUC, SPEARMAN)}
    found = {one.metric: one for one in figures_of({"scorer": measured}, infos)}
    for figure in found.values():
        assert figure.interval is not None
        assert figure.value is not None
        assert figure.lower is not None
        assert figure.interval.low < figure.lower < figure.value < figure.interval.high
    barred = replace(measured, barred={ROC_AUC.name: ROC_AUC})
    assert next(figures_of({"s": barred}, infos)).reason == "not applicable"
