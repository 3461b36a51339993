"""How likely a model finds the reference answer: what perplexity is computed from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from loragraft.dataset.records import Qa
from loragraft.engine.batch.protocol import (
    BatchEngine,
    Continuations,
    LogProbs,
    ProbabilityEngine,
)
from loragraft.experiment.arms.protocol import Asked

LOG_PROB, TOKENS, TEXT, MISSING = (
    "reference_log_prob",
    "reference_tokens",
    "reference",
    "reference_missing",
)
"""In a sample's ``extra``: natural log-probability of all tokens of the reference answer together,
how many these are, its text; or why there are none."""


def shows_probabilities(engine: BatchEngine) -> bool:
    """Whether an engine shows how likely a text is."""
    return hasattr(engine, "log_probs")


def likelihoods(
    engine: BatchEngine, asked: Iterable[Asked], think: bool | None
) -> dict[str, dict[str, Any]]:
    """Return, by the question's id, what its samples record of the reference answer.

    Raises:
        LoragraftError: Whatever the engine refuses.
    """
    records: dict[str, Qa] = {}
    wanted: list[Continuations] = []
    for one in asked:
        record = one.question.record
        assert isinstance(record, Qa)
        if record.id not in records:
            records[record.id] = record
            texts = (record.answers[0],)
            wanted.append(Continuations(record.id, one.question.messages, texts, think))
    if not shows_probabilities(engine):
        why = f"{engine.name} shows no probabilities"
        return {name: {MISSING: why} for name in records}
    found = _asked(cast("ProbabilityEngine", engine), wanted)
    return {name: _recorded(record, found.get(name)) for name, record in records.items()}


def _asked(engine: ProbabilityEngine, wanted: Sequence[Continuations]) -> dict[str, LogProbs]:
    return {one.id: one for one in engine.log_probs(wanted)}


def _recorded(record: Qa, found: LogProbs | None) -> dict[str, Any]:
    if found is None or found.status != "ok" or not found.sums:
        return {MISSING: found.error if found is not None and found.error else "no answer came"}
    if not found.sums[0] > float("-inf"):  # NaN neither
        return {MISSING: "the engine shows only the likeliest tokens, and this is not among them"}
    return {LOG_PROB: found.sums[0], TOKENS: found.counts[0], TEXT: record.answers[0]}
