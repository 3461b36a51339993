"""What a model would get that has read no question: one answer, one number, for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

from loragraft.dataset.records import Qa, Score, TaskRecord
from loragraft.experiment.metrics.numbers_scored import ERROR, SQUARED
from loragraft.experiment.metrics.protocol import Metric
from loragraft.experiment.metrics.squad import normalise_answer
from loragraft.experiment.records import Sample

YES, NO = "Yes.", "No."
COMMON = 5
"""Accepted answers that are tried beside yes and no: the most common ones. What is rarer than the
fifth is right on fewer questions than the fifth."""
SHARED = 2
"""Questions that must accept an answer for it to be tried: what one accepts is right there only."""


def constant_answers(records: Sequence[TaskRecord]) -> tuple[str, ...]:
    """Return the answers that are tried: yes, no, and what most questions accept.

    They are chosen knowing what is accepted, as no model does: the best of them is the most that
    always the same answer can get, or nearly so.
    """
    counts: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for record in records:
        answers = record.answers if isinstance(record, Qa) else ()
        own = {normalise_answer(text): text for text in reversed(answers)}
        counts.update(text for text in own if text)
        for bare, text in own.items():
            spelled.setdefault(bare, text)
    taken = {normalise_answer(YES), normalise_answer(NO)}
    ranked = sorted(counts, key=lambda bare: (-counts[bare], bare))
    common = [bare for bare in ranked if bare not in taken and counts[bare] >= SHARED]
    return (YES, NO, *(spelled[bare] for bare in common[:COMMON]))


def values_of_constant(
    answer: str, metric: Metric, name: str, records: Iterable[TaskRecord]
) -> dict[str, float]:
    """Return what a metric gives to one answer to every question; one without a value is out."""
    by_id = {record.id: record for record in records}
    samples = [
        Sample("", record.id, 0, record.task_type, record.paper_id, None, (), "ok",
               raw=answer, answer=answer)
        for record in by_id.values()
    ]  # fmt: skip
    return {
        score.question_id: score.value for score in metric.scores(samples, by_id)
        if score.metric == name and score.value is not None
    }  # fmt: skip


def constant_errors(records: Sequence[TaskRecord]) -> dict[str, tuple[float, dict[str, float]]]:
    """Return, by metric, the number that errs least on all questions, and its error on each.

    The median for absolute errors, the mean for squared ones. Both know all labels, as no model
    does.
    """
    labels = {record.id: record.label for record in records if isinstance(record, Score)}
    if not labels:
        return {}
    middle, mean = float(median(labels.values())), fmean(labels.values())
    absolute = {name: abs(middle - label) for name, label in labels.items()}
    squared = {name: (mean - label) ** 2 for name, label in labels.items()}
    return {ERROR: (middle, absolute), SQUARED: (mean, squared)}


def best(values: Mapping[str, Mapping[str, float]]) -> str:
    """Return the answer with the greatest mean, the first of several."""
    return max(values, key=lambda answer: fmean(values[answer].values() or (0.0,)))
