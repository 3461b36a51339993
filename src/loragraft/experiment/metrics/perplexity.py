"""How likely a model finds the reference answer.

The arm asks its engine while it runs and writes into the sample's ``extra``: the reference's
log-probability after the question, and its tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from loragraft.dataset.records import TaskRecord
from loragraft.experiment.metrics.measured import EachSample, Measured, Missing, Value
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.records import Sample

LOG_PROB = "reference_log_prob"
"""Key of ``extra``: natural log-probability of the first accepted answer, all tokens together."""
TOKENS = "reference_tokens"
"""Key of ``extra``: how many tokens that answer has."""
_SOURCE = "Jelinek et al. 1977; natural logarithm, over the reference's tokens"
INFO = MetricInfo("reference_nats", "nats per token", "lower", "sanity", _SOURCE)


def perplexity() -> EachSample:
    """Return the metric: minus the mean log-probability of a token of the reference."""
    return EachSample((INFO,), _measure)


def _measure(sample: Sample, record: TaskRecord) -> Mapping[str, Measured]:
    return {INFO.name: _nats(sample)}


def _nats(sample: Sample) -> Measured:
    found = seen(sample)
    if found is None:
        return Missing("the engine shows no probabilities of the reference answer")
    total, count = found
    if not math.isfinite(total):
        return Missing("the reference answer is impossible, or not among the likeliest tokens")
    return Value(-total / count, {"tokens": count})


def seen(sample: Sample) -> tuple[float, int] | None:
    """Return the reference's log-probability and tokens; None where they were not seen."""
    total, count = sample.extra.get(LOG_PROB), sample.extra.get(TOKENS)
    if isinstance(total, (int, float)) and type(count) is int and count > 0:
        return float(total), count
    return None


def corpus_perplexity(samples: Sequence[Sample]) -> tuple[float, int] | None:
    """Return the perplexity of all references together, and how many there are; None for none.

    The exponential of the mean over all tokens: a long reference weighs more.
    """
    found = [one for sample in samples if (one := seen(sample)) and math.isfinite(one[0])]
    tokens = sum(count for _, count in found)
    if not tokens:
        return None
    mean = -sum(total for total, _ in found) / tokens
    return (math.exp(mean), len(found)) if mean < 700 else None
