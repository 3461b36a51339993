"""Controls: what the metrics give where there is nothing to give.

A metric of grounding that grants an answer's citations beside any passage measures nothing, and an
experiment that does not beat always the same answer has not answered. Both are told beside the
figures, whatever they say: docs/controls.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from loragraft.artifact.progress import Progress, Silent
from loragraft.dataset.records import TaskRecord
from loragraft.errors import LoragraftError
from loragraft.experiment.analysis.constants import (
    NO,
    YES,
    best,
    constant_answers,
    constant_errors,
    values_of_constant,
)
from loragraft.experiment.analysis.control_cache import ControlCache, Kept
from loragraft.experiment.analysis.control_results import (
    CONSTANT,
    SHUFFLED,
    of_best,
    of_constant,
    of_exchange,
    of_failure,
    of_questions,
)
from loragraft.experiment.analysis.exchanging import exchanged
from loragraft.experiment.analysis.model import Control
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.key import digest
from loragraft.experiment.metrics.factuality import NAME as FACTUALITY
from loragraft.experiment.metrics.grounding.metric import INFOS, GroundingMetric
from loragraft.experiment.reading import sample_json
from loragraft.experiment.records import Sample, Score
from loragraft.experiment.run_info import RunInfo

if TYPE_CHECKING:
    from loragraft.experiment.metrics.opening import Tools
    from loragraft.experiment.metrics.protocol import Metric

VERSION = 1
"""Raised whenever the same records may get another control."""
GROUNDED = ("grounding_coverage", "citation_recall", "citation_precision")
MOST_QUESTIONS = {"overlap": 1000, "nli": 1000, "judge": 60}
"""Questions whose passages are exchanged, by the way to decide on support. A thousand bound a share
within 3 points; a judge takes seconds or cents for each claim, and 60 bound it within 13."""


class Records(Protocol):
    """An experiment's records, read."""

    @property
    def info(self) -> RunInfo:
        """What its run says of itself."""

    @property
    def samples(self) -> Sequence[Sample]:
        """Of the series' questions."""

    @property
    def scores(self) -> Mapping[str, Sequence[Score]]:
        """By metric."""

    @property
    def records(self) -> Mapping[str, TaskRecord]:
        """The questions, by id."""


def controls_of(
    config: SeriesConfig,
    read: Mapping[str, Records],
    tools: Tools,
    progress: Progress | None = None,
) -> tuple[Control, ...]:
    """Return the controls of a series.

    What takes a model is kept in the series' folder, under a key of all that decides it.

    Args:
        config: The series.
        read: Its experiments' records, measured, by id.
        tools: Open: a support test is opened where a control is not kept.
        progress: Who hears of what is measured.

    Raises:
        MissingExtraError: scipy or statsmodels is not installed.
        OutOfSpaceError: The disk is full.
    """
    maker = _Maker(config, tools, progress or Silent())
    found = [control for name, arm in read.items() for control in maker.of_passages(name, arm)]
    found += maker.of_answers(read)
    found += _of_numbers(read)
    maker.cache.save()
    return tuple(found)


class _Maker:
    """Makes the controls that take a metric, or finds them kept."""

    def __init__(self, config: SeriesConfig, tools: Tools, progress: Progress) -> None:
        self._config, self._tools, self._progress = config, tools, progress
        self.cache = ControlCache(config.outputs / config.series)

    def of_passages(self, name: str, arm: Records) -> Iterator[Control]:
        """Yield what becomes of an experiment's grounding beside passages of other papers."""
        if GROUNDED[0] not in arm.scores or not any(sample.shown for sample in arm.samples):
            return
        real = {metric: means(arm.scores.get(metric, ())) for metric in GROUNDED}
        try:
            control = self._exchanged(name, arm)
        except LoragraftError as error:
            yield of_failure(SHUFFLED, name, GROUNDED[0], str(error))
            return
        for metric in GROUNDED:
            yield of_exchange(name, metric, control[metric], real[metric], papers(arm.records))

    def _exchanged(self, name: str, arm: Records) -> Kept:
        """Return grounding beside others' passages, by metric and question."""
        way = self._config.metrics.grounding.support
        known = arm.info.scores.get("metrics")
        measured = known.get(_NAMES) if isinstance(known, Mapping) else None
        content = [[*sample.key, digest(sample_json(sample))] for sample in arm.samples]
        most = MOST_QUESTIONS[way]
        key = digest([VERSION, self._config.seed, most, measured, arm.info.questions, content])
        kept = None if measured is None else self.cache.find(f"{_PASSAGES} {name}", key)
        if kept is None or not kept.keys() >= {*GROUNDED}:
            self._progress.begin(f"{name}: passages of other papers", 1, "control")
            kept = self._score(arm, most)
            self.cache.keep(f"{_PASSAGES} {name}", key, kept)
        return kept

    def _score(self, arm: Records, most: int) -> Kept:
        support = self._tools.support(self._config.metrics.grounding.support)
        swapped = exchanged(arm.samples, arm.records, seed=self._config.seed, most=most)
        found: dict[str, list[Score]] = {metric: [] for metric in GROUNDED}
        for score in GroundingMetric(support).scores(swapped, arm.records):
            if score.metric in found:
                found[score.metric].append(score)
        self._progress.advance(1)
        return {metric: means(scores) for metric, scores in found.items()}

    def of_answers(self, read: Mapping[str, Records]) -> Iterator[Control]:
        """Yield what always the same answer gets, alone and beside each experiment."""
        arms = {name: arm for name, arm in read.items() if FACTUALITY in arm.scores}
        if not arms:
            return
        name, arm = next(iter(arms.items()))
        try:
            known = self._constants(name, arm)
        except LoragraftError as error:
            yield of_failure(CONSTANT, "", FACTUALITY, str(error))
            return
        yield of_questions("always yes", YES, known[YES], known[NO])
        yield of_questions("always no", NO, known[NO], known[YES])
        text = best(known)
        yield of_best(text, known[text])
        for name, arm in arms.items():
            real = means(arm.scores[FACTUALITY])
            yield of_constant(name, FACTUALITY, text, known[text], real, papers(arm.records))

    def _constants(self, name: str, arm: Records) -> Kept:
        """Return factuality of constant answers, by answer and question."""
        records = list(arm.records.values())
        metrics = self._config.metrics.model_dump(mode="json")
        metric = self._factuality(name)
        versions = [[info.name, info.version] for info in metric.infos]
        key = digest([VERSION, arm.info.questions, metrics, versions])
        kept = self.cache.find(_ANSWERS, key)
        if kept is None or not kept.keys() >= {YES, NO}:
            kept = {}
            answers = constant_answers(records)
            self._progress.begin("always the same answer", len(answers), "answers")
            for answer in answers:
                kept[answer] = values_of_constant(answer, metric, FACTUALITY, records)
                self._progress.advance(1)
            kept = {answer: kept[answer] for answer in dict.fromkeys((YES, NO, best(kept)))}
            self.cache.keep(_ANSWERS, key, kept)
        return kept

    def _factuality(self, name: str) -> Metric:
        from loragraft.experiment.metrics.opening import open_context
        from loragraft.experiment.metrics.registry import metrics_for

        context = open_context(self._config, name, self._tools)
        metrics = metrics_for(self._config.metrics, "qa", context)
        return next(one for one in metrics if FACTUALITY in {info.name for info in one.infos})


def _of_numbers(read: Mapping[str, Records]) -> Iterator[Control]:
    """Yield what always the same number errs, beside each experiment that gives numbers."""
    for name, arm in read.items():
        for metric, (number, errors) in constant_errors(list(arm.records.values())).items():
            real = means(arm.scores.get(metric, ()))
            if real:
                yield of_constant(name, metric, f"{number:g}", errors, real,
                                  papers(arm.records), lower=True)  # fmt: skip


def means(scores: Iterable[Score]) -> dict[str, float]:
    """Return the mean of each question's answers; those without a value are left out."""
    found: dict[str, list[float]] = {}
    for score in scores:
        if score.status == "ok" and score.value is not None:
            found.setdefault(score.question_id, []).append(score.value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def papers(records: Mapping[str, TaskRecord]) -> dict[str, str | None]:
    """Return the cluster of each question."""
    return {name: record.paper_id for name, record in records.items()}


_NAMES = " ".join(info.name for info in INFOS)
"""Under which a run keeps the key of its grounding."""
_PASSAGES, _ANSWERS = "passages", "answers"
