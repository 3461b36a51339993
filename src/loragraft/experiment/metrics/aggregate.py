"""What is measured of all samples together, and is no mean of theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loragraft.dataset.records import TaskRecord
from loragraft.engine.batch.protocol import Load
from loragraft.experiment.config import TaskKind
from loragraft.experiment.metrics.distribution import distribution_of
from loragraft.experiment.metrics.measured import answerless
from loragraft.experiment.metrics.numbers_scored import label_of
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.metrics.ranking import (
    POSITIVE,
    choose_threshold,
    confusion,
    positives,
    roc_auc,
    spearman,
)
from loragraft.experiment.records import Sample

_AUC = "Hanley and McNeil 1982: the chance of the right order, ties half"
ROC_AUC = MetricInfo("roc_auc", "share", "higher", "main", _AUC)
SPEARMAN = MetricInfo(
    "spearman", "correlation", "higher", "main", "Spearman 1904, ties share ranks"
)
ACCURACY = MetricInfo("accuracy", "share", "higher", "main", "share of right decisions")
PERPLEXITY = MetricInfo(
    "perplexity", "times", "lower", "sanity", "exp of the mean over all reference tokens"
)
BLEU = MetricInfo("corpus_bleu", "points of 100", "higher", "sanity", "Papineni et al. 2002")
MEMORY = MetricInfo("peak_memory", "bytes", "lower", "diagnostic", "peak of this process")
THROUGHPUT = MetricInfo(
    "throughput", "tokens per second", "higher", "diagnostic", "tokens written by the clock"
)
DISTRIBUTION = MetricInfo("distribution", "points", None, "diagnostic", "of the numeric outputs")


@dataclass(frozen=True)
class Aggregate:
    """A measure of all samples.

    Attributes:
        info: Its name and unit.
        value: Finite; None where it cannot be had.
        count: Samples that it rests on.
        of: Samples that there are.
        reason: Why there is no value.
        detail: More of it, as JSON values: a confusion matrix, a histogram.
    """

    info: MetricInfo
    value: float | None
    count: int
    of: int
    reason: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.info.name, "unit": self.info.unit, "better": self.info.better,
            "tier": self.info.tier, "value": self.value, "count": self.count, "of": self.of,
            "reason": self.reason, "detail": dict(self.detail),
        }  # fmt: skip


def aggregates(
    kind: TaskKind,
    samples: Sequence[Sample],
    records: Mapping[str, TaskRecord],
    *,
    threshold: float | None = None,
    load: Load | None = None,
    sanity: bool = True,
) -> list[Aggregate]:
    """Measure all samples of an experiment together.

    Args:
        kind: Of its records.
        samples: All of them; those without an answer are counted, and left out.
        records: By id.
        threshold: From which number on the answer is yes, for accuracy and confusion matrix: stated
            by a config, or chosen on other data with
            :func:`~loragraft.experiment.metrics.ranking.choose_threshold`; None takes a half for
            scores, and for embeddings shows no decisions.
        load: What the engine says it has cost.
        sanity: Whether BLEU is wanted, which needs sacrebleu.
    """
    good = [sample for sample in samples if answerless(sample, records) is None]
    of = len(samples)
    found: list[Aggregate] = []
    if kind in ("score", "embedding"):
        if threshold is None and kind == "score":
            threshold = POSITIVE
        found += _numeric(kind, good, of, records, threshold)
    else:
        found += [_corpus_bleu(good, of, records)] if sanity else []
        found += _perplexity(good, of)
    return [*found, *_cost(load, of)]


def _numeric(
    kind: TaskKind,
    good: Sequence[Sample],
    of: int,
    records: Mapping[str, TaskRecord],
    threshold: float | None,
) -> list[Aggregate]:
    pairs = [
        (sample.parsed, label) for sample in good
        if sample.parsed is not None and math.isfinite(sample.parsed)
        and (label := label_of(records[sample.question_id])) is not None
    ]  # fmt: skip
    outputs, labels = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    right = positives(labels)
    ends = {"low": 0.0, "high": 1.0} if kind == "score" else {}
    spread = distribution_of(outputs, **ends)
    classes = {"positive": sum(right), "negative": len(right) - sum(right)}
    best = choose_threshold(outputs, right)
    shown = {**classes, "positive_from": POSITIVE, "best_threshold_here": best}
    found = [
        _of(ROC_AUC, roc_auc(outputs, right), len(pairs), of, "one class alone", shown),
        _of(SPEARMAN, spearman(outputs, labels), len(pairs), of, "all numbers of a side are equal"),
        _of(DISTRIBUTION, spread.mean, len(pairs), of, "no numbers", spread.to_json()),
    ]
    if threshold is None:
        return found
    table = confusion(outputs, right, threshold)
    reason = "no numbers"
    return [*found, _of(ACCURACY, table.accuracy, len(pairs), of, reason, table.to_json())]


def _corpus_bleu(good: Sequence[Sample], of: int, records: Mapping[str, TaskRecord]) -> Aggregate:
    from loragraft.experiment.metrics.squad import plain_answer
    from loragraft.experiment.metrics.text import corpus_bleu, references

    pairs = [
        (plain_answer(s), texts) for s in good if (texts := references(records[s.question_id]))
    ]
    if not pairs:
        return _of(BLEU, None, 0, of, "no answers with references")
    value, signature = corpus_bleu([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return _of(BLEU, value, len(pairs), of, "", {"signature": signature})


def _perplexity(good: Sequence[Sample], of: int) -> list[Aggregate]:
    from loragraft.experiment.metrics.perplexity import corpus_perplexity, seen

    if not any(map(seen, good)):
        return []
    found = corpus_perplexity(good)
    value, count = found or (None, 0)
    return [_of(PERPLEXITY, value, count, of, "no reference is possible")]


def _cost(load: Load | None, of: int) -> list[Aggregate]:
    if load is None:
        return []
    rate = load.tokens / load.seconds if load.seconds > 0 else None
    detail = {
        "prompt_tokens": load.prompt_tokens, "shared_tokens": load.shared_tokens,
        "tokens": load.tokens, "seconds": load.seconds,
    }  # fmt: skip
    peak = None if load.peak_bytes is None else float(load.peak_bytes)
    return [
        _of(THROUGHPUT, rate, of, of, "nothing was written", detail),
        _of(MEMORY, peak, of, of, "a server has its own"),
    ]


def _of(
    info: MetricInfo,
    value: float | None,
    count: int,
    of: int,
    reason: str,
    detail: Mapping[str, Any] | None = None,
) -> Aggregate:
    usable = value is not None and math.isfinite(value)
    return Aggregate(info, value if usable else None, count, of, "" if usable else reason,
                     detail or {})  # fmt: skip
