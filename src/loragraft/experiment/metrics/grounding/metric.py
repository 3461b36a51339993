"""Grounding of cited answers, as scores of samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loragraft.dataset.records import TaskRecord
from loragraft.experiment.metrics.grounding import claims
from loragraft.experiment.metrics.grounding.alce import Answered, Grade, grade, mean
from loragraft.experiment.metrics.grounding.claims import Statement, statements
from loragraft.experiment.metrics.grounding.support import Support
from loragraft.experiment.metrics.protocol import MetricInfo
from loragraft.experiment.records import Sample, Score

BATCH = 64
"""Samples that are judged together: enough for a model's batches, little to lose."""
_ALCE = "Gao et al. 2023, arXiv 2305.14627, §3.3"

INFOS = (
    MetricInfo("grounding_coverage", "share", "higher", "main", "docs/grounding.md"),
    MetricInfo("citation_recall", "share", "higher", "main", _ALCE),
    MetricInfo("citation_precision", "share", "higher", "main", _ALCE),
    MetricInfo("citations", "count", None, "diagnostic", "docs/grounding.md"),
    MetricInfo("citations_fabricated", "count", "lower", "main", "docs/grounding.md"),
    MetricInfo("uncited_sentences", "share", "lower", "diagnostic", "docs/grounding.md"),
)


class GroundingMetric:
    """Scores how an answer's sentences rest on the passages that they cite.

    Only for arms that retrieve: an arm without passages cannot cite, and its grounding is not
    applicable.
    """

    def __init__(self, support: Support) -> None:
        """Judge by a support test, which stays its owner's to close."""
        self._support = support

    @property
    def infos(self) -> tuple[MetricInfo, ...]:
        """Six names, computed together."""
        return INFOS

    def identity(self) -> dict[str, Any]:
        """Return what decides its values."""
        return {"statements": claims.VERSION, "support": self._support.identity()}

    def scores(
        self, samples: Sequence[Sample], records: Mapping[str, TaskRecord]
    ) -> Iterator[Score]:
        """Yield six scores for each sample."""
        for begin in range(0, len(samples), BATCH):
            some = samples[begin : begin + BATCH]
            able = [sample for sample in some if sample.status == "ok"]
            answers = [_answered(sample) for sample in able]
            grades = iter(zip(answers, grade(answers, self._support.supported), strict=True))
            for sample in some:
                if sample.status == "ok":
                    yield from _scores(sample, *next(grades))
                else:
                    yield from (_score(sample, info.name, status=sample.status) for info in INFOS)


def _answered(sample: Sample) -> Answered:
    passages = {one.label: f"{one.title}\n{one.text}".strip() for one in sample.shown}
    checked = [
        {**one, "known": one.get("known") is True and one.get("label") in passages}
        for one in sample.citations
    ]
    return Answered(tuple(statements(sample.answer, checked)), passages)


def _scores(sample: Sample, answer: Answered, grades: Sequence[Grade]) -> Iterator[Score]:
    detail = {"sentences": [_told(*pair) for pair in zip(answer.statements, grades, strict=True)]}
    precise = [verdict for one in grades for verdict in one.precise]
    yield _share(sample, "grounding_coverage", [one.covered for one in grades], detail)
    yield _share(sample, "citation_recall", [one.recalled for one in grades])
    yield _share(sample, "citation_precision", precise)
    labels = [str(one.get("label")) for one in sample.citations]
    unknown = [label for label in dict.fromkeys(labels) if label not in answer.passages]
    yield _score(sample, "citations", float(len(labels)))
    yield _score(sample, "citations_fabricated", float(len(unknown)), {"labels": unknown})
    uncited = [not one.has_citation for one in answer.statements]
    yield _share(sample, "uncited_sentences", uncited)


def _told(statement: Statement, graded: Grade) -> dict[str, Any]:
    return {
        "start": statement.start, "stop": statement.stop, "cited": list(statement.cited),
        "fabricated": list(statement.fabricated), "supported": graded.covered,
        "reason": graded.reason,
    }  # fmt: skip


def _share(
    sample: Sample,
    name: str,
    verdicts: Sequence[bool | None],
    detail: Mapping[str, Any] | None = None,
) -> Score:
    value = mean(verdicts)
    missing = {} if value is not None else {"missing": sum(one is None for one in verdicts)}
    told = {**(detail or {}), "n": len(verdicts), **missing}
    return _score(sample, name, value, told, "ok" if value is not None else "parse_error")


def _score(
    sample: Sample,
    name: str,
    value: float | None = None,
    detail: Mapping[str, Any] | None = None,
    status: Any = "ok",  # noqa: ANN401
) -> Score:
    return Score(sample.question_id, sample.repeat, name, status, value, detail or {})
