"""The sanity tier: overlap of words with reference answers. It catches catastrophes, no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from loragraft.dataset.records import Qa, Reply, TaskRecord
from loragraft.errors import MissingExtraError
from loragraft.experiment.metrics.measured import EachSample, Measured, Missing, Value
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.metrics.squad import exact_match, plain_answer, token_f1
from loragraft.experiment.records import Sample

PURPOSE = "Measuring answers by their words"
_SQUAD = "SQuAD 1.1, arXiv 1606.05250"
_ROUGE = "Lin 2004, by rouge-score, without stemming; F measure, best of the references"
_BLEU = "Papineni et al. 2002, by sacrebleu (13a, exp, effective order); all references"
INFOS = (
    MetricInfo("exact_match", "share", "higher", "sanity", _SQUAD),
    MetricInfo("token_f1", "share", "higher", "sanity", _SQUAD),
    MetricInfo("rouge1", "share", "higher", "sanity", _ROUGE),
    MetricInfo("rouge2", "share", "higher", "sanity", _ROUGE),
    MetricInfo("rougeL", "share", "higher", "sanity", _ROUGE),
    MetricInfo("bleu", "points of 100", "higher", "sanity", _BLEU),
)
LONGEST = 8_000
"""Characters of an answer that ROUGE and BLEU read: the time of ROUGE-L grows with the product of
both lengths, and an answer of thousands of words to a short reference scores near 0 anyway."""


def sanity() -> EachSample:
    """Return exact match, token F1, ROUGE and BLEU; computing them needs the extra ``report``."""
    return EachSample(INFOS, _measure, _versions)


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in ("rouge-score", "sacrebleu")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise MissingExtraError(package, "report", PURPOSE) from None


def references(record: TaskRecord) -> tuple[str, ...]:
    """Return the texts that an answer is compared with; none for a record of numbers."""
    if isinstance(record, Qa):
        return record.answers
    return (record.reply,) if isinstance(record, Reply) else ()


def _measure(sample: Sample, record: TaskRecord) -> Mapping[str, Measured]:
    accepted = references(record)
    if not accepted:
        return dict.fromkeys((info.name for info in INFOS), Missing("the record has no reference"))
    answer = plain_answer(sample)
    values = {
        "exact_match": exact_match(answer, accepted),
        "token_f1": token_f1(answer, accepted),
        **rouge(answer, accepted),
        "bleu": sentence_bleu(answer, accepted),
    }
    return {name: Value(value) for name, value in values.items()}


def rouge(answer: str, accepted: Sequence[str]) -> dict[str, float]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L: the best F measure over the references."""
    found = _scorer().score_multi(list(accepted), answer[:LONGEST])
    return {name: float(score.fmeasure) for name, score in found.items()}


@cache
def _scorer() -> Any:  # noqa: ANN401 - a rouge_score.rouge_scorer.RougeScorer
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtraError("rouge-score", "report", PURPOSE) from error
    return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)


def sentence_bleu(answer: str, accepted: Sequence[str]) -> float:
    """Return BLEU of one answer, 0 to 100; orders longer than the answer do not count."""
    return float(_bleu(True).sentence_score(answer[:LONGEST], list(accepted)).score)


def corpus_bleu(answers: Sequence[str], accepted: Sequence[Sequence[str]]) -> tuple[float, str]:
    """Return BLEU of all answers together, 0 to 100, and sacrebleu's signature.

    Args:
        answers: One a question, at least one.
        accepted: References of each; they may be of different numbers.
    """
    most = max(len(one) for one in accepted)
    streams = [[one[n] if n < len(one) else None for one in accepted] for n in range(most)]
    metric = _bleu(False)
    found = metric.corpus_score([answer[:LONGEST] for answer in answers], streams)
    return float(found.score), str(metric.get_signature())


def _bleu(effective: bool) -> Any:  # noqa: ANN401 - a sacrebleu.metrics.BLEU
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "report", PURPOSE) from error
    return BLEU(effective_order=effective)
