"""Numbers against labels: the error of each, and rank correlation, ROC-AUC and threshold of all."""

from __future__ import annotations

import math
from collections.abc import Mapping

from loragraft.dataset.records import Embedding, Score, TaskRecord
from loragraft.experiment.metrics.measured import EachSample, Measured, Missing, Value
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.records import Sample

OUTPUT, ERROR, SQUARED = "output", "absolute_error", "squared_error"
_SCORE = (
    MetricInfo(OUTPUT, "points", None, "diagnostic", "what the task reads from the answer"),
    MetricInfo(ERROR, "points", "lower", "main", "distance of output and label"),
    MetricInfo(SQUARED, "points squared", "lower", "main", "Brier 1950"),
)
_COSINE = (MetricInfo(OUTPUT, "cosine", None, "diagnostic", "cosine of both texts' vectors"),)


def number_errors() -> EachSample:
    """Return a score's output, and how far it is from its label."""
    return EachSample(_SCORE, _errors)


def cosines() -> EachSample:
    """Return the cosine of each pair."""
    return EachSample(_COSINE, _outputs)


def label_of(record: TaskRecord) -> float | None:
    """Return the number that is expected; None for records of text."""
    return record.label if isinstance(record, (Score, Embedding)) else None


def _number(sample: Sample) -> Measured:
    if sample.parsed is None:
        return Missing("there is no number", "parse_error")
    if not math.isfinite(sample.parsed):
        return Missing("the number is not finite")
    return Value(sample.parsed)


def _outputs(sample: Sample, record: TaskRecord) -> Mapping[str, Measured]:
    return {OUTPUT: _number(sample)}


def _errors(sample: Sample, record: TaskRecord) -> Mapping[str, Measured]:
    found, label = _number(sample), label_of(record)
    if isinstance(found, Missing) or label is None:
        missing = found if isinstance(found, Missing) else Missing("the record has no label")
        return {OUTPUT: found, ERROR: missing, SQUARED: missing}
    error = abs(found.value - label)
    return {OUTPUT: found, ERROR: Value(error), SQUARED: Value(error * error)}
