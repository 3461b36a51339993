"""How long answers took, and what they needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loragraft.dataset.records import TaskRecord
from loragraft.experiment.metrics.measured import EachSample, Measured, Missing, Value
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.records import Sample

_SOURCE = "one answer's, by the engine; several are written at once: the run's is throughput"
FIRST, PER_TOKEN, RATE = "first_token_seconds", "seconds_per_token", "tokens_per_second"
INFOS = (
    MetricInfo(FIRST, "seconds", "lower", "diagnostic", _SOURCE),
    MetricInfo(PER_TOKEN, "seconds per token", "lower", "diagnostic", _SOURCE),
    MetricInfo(RATE, "tokens per second", "higher", "diagnostic", _SOURCE),
    MetricInfo("answer_tokens", "tokens", None, "diagnostic", "counted by the engine"),
)
_UNKNOWN = Missing("the engine does not say")


def speed() -> EachSample:
    """Return the time to the first token, per token after it, tokens a second, and tokens."""
    return EachSample(INFOS, _measure)


def _measure(sample: Sample, record: TaskRecord) -> Mapping[str, Measured]:
    first, tokens = sample.first_seconds, sample.tokens
    pace = _pace(tokens, sample.seconds)
    return {
        FIRST: _UNKNOWN if first is None else Value(first),
        PER_TOKEN: _UNKNOWN if pace is None else Value(pace),
        RATE: _UNKNOWN if not pace else Value(1 / pace),
        "answer_tokens": _UNKNOWN if tokens is None else Value(float(tokens)),
    }


def _pace(tokens: int | None, seconds: float | None) -> float | None:
    """Return seconds per token after the first; None for fewer than two tokens."""
    if tokens is None or seconds is None or tokens < 2 or seconds < 0:
        return None
    return seconds / (tokens - 1)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which a share of values lies, between neighbours in proportion."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
