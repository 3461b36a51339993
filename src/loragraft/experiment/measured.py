"""All records of a series, read once: what is not measured yet is measured first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loragraft.artifact.progress import Progress, Silent
from loragraft.dataset.records import TaskRecord
from loragraft.engine.batch.protocol import Load
from loragraft.errors import InputError, LockedError
from loragraft.experiment.arm_run import ArmJob
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.questions import QuestionFile, Questions
from loragraft.experiment.records import Sample, Score
from loragraft.experiment.run_info import RunInfo, read_run
from loragraft.experiment.scoring import read_scores, score_arm
from loragraft.experiment.store import Key, read_samples

if TYPE_CHECKING:
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.metrics.aggregate import Aggregate
    from loragraft.experiment.metrics.opening import Tools
    from loragraft.experiment.metrics.protocol import MetricInfo


@dataclass(frozen=True)
class Measured:
    """An experiment's records, read.

    Attributes:
        info: What its run says of itself.
        samples: Of the series' questions.
        scores: By metric.
        aggregates: Of all samples together, by name.
        barred: Metrics that it cannot have.
        records: The questions, by id.
    """

    info: RunInfo
    samples: Sequence[Sample]
    scores: Mapping[str, Sequence[Score]]
    aggregates: Mapping[str, Aggregate]
    barred: Mapping[str, MetricInfo]
    records: Mapping[str, TaskRecord]


@dataclass(frozen=True)
class MeasuredSeries:
    """The records of all experiments of a series that have been run.

    Attributes:
        config: The series.
        file: Its questions.
        arms: By experiment, in the configuration's order; one that was not run is left out.
        infos: Their metrics, by name, in the order of tables.
        unreadable: Experiments whose files cannot be read, and why.
    """

    config: SeriesConfig
    file: QuestionFile
    arms: Mapping[str, Measured]
    infos: Mapping[str, MetricInfo]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def baseline(self) -> str:
        """Return the experiment that the others are compared with."""
        return self.config.resolve(self.config.baseline) or self.config.baseline

    def questions(self, name: str) -> Questions:
        """Return what an experiment is asked."""
        return self.file.of(self.config.experiments[name].task)


def measure_series(
    config: SeriesConfig, shared: Shared, tools: Tools, progress: Progress | None = None
) -> MeasuredSeries:
    """Read a series' records, and bring its scores up to date.

    Args:
        config: The series.
        shared: What its experiments share: index, embedder.
        tools: What metrics may need to be computed.
        progress: Who hears of what is measured.

    Raises:
        InputError: If the questions cannot be read; one experiment's files keep nobody waiting.
        LoragraftError: What a metric cannot do without.
    """
    progress = progress or Silent()
    file = QuestionFile(config)
    arms: dict[str, Measured] = {}
    infos: dict[str, MetricInfo] = {}
    unreadable: dict[str, str] = {}
    for name, experiment in config.experiments.items():
        questions = file.of(experiment.task)
        job = ArmJob(config, name, questions, lambda: shared, progress, tools=lambda: tools)
        try:
            if read_run(job.folder) is not None:
                _measure(job, progress)
                arms[name] = _read(job, infos)
        except InputError as error:
            if _readable(job.folder):
                raise
            unreadable[name] = str(error)
    return MeasuredSeries(config, file, arms, infos, unreadable)


def _readable(folder: Path) -> bool:
    """Whether a run's files can be read: if not, the other experiments are still told of."""
    try:
        read_run(folder)
        read_samples(folder)
        return all(True for _ in read_scores(folder))
    except InputError:
        return False


def _measure(job: ArmJob, progress: Progress) -> None:
    """Bring an experiment's scores up to date; one that is at work keeps those that it has."""
    try:
        score_arm(job, progress=progress)
    except LockedError:
        progress.note(f"{job.name} is at work: its figures are those of the answers before.")


def _read(job: ArmJob, infos: dict[str, MetricInfo]) -> Measured:
    """Read an experiment's records, and add its metrics to those of the series."""
    from loragraft.experiment.metrics.aggregate import aggregates
    from loragraft.experiment.metrics.factuality import agreement
    from loragraft.experiment.metrics.opening import open_context
    from loragraft.experiment.metrics.registry import metrics_for, not_applicable

    info = read_run(job.folder)
    assert info is not None
    config, task = job.config, job.config.experiments[job.name].task
    context = open_context(config, job.name)
    barred = [one.info for one in not_applicable(config.metrics, task, context)]
    of_each = [info for one in metrics_for(config.metrics, task, context) for info in one.infos]
    samples = list(_samples(job, info))
    records = {record.id: record for record in job.questions.records}
    scores = _scores(job, {sample.key for sample in samples})
    sanity = "sanity" in config.metrics.groups
    of_all = aggregates(task, samples, records, threshold=threshold_of(samples), load=_load(info),
                        sanity=sanity)  # fmt: skip
    of_all += agreement([score for found in scores.values() for score in found])
    for metric in (*of_each, *barred, *(one.info for one in of_all)):
        infos.setdefault(metric.name, metric)
    return Measured(info, samples, scores, {one.info.name: one for one in of_all},
                    {one.name: one for one in barred}, records)  # fmt: skip


def _scores(job: ArmJob, asked: Set[Key]) -> dict[str, list[Score]]:
    """Return the scores of the samples that count: a run may hold those of other questions."""
    scores: dict[str, list[Score]] = {}
    for score in read_scores(job.folder):
        if (score.question_id, score.repeat) in asked:
            scores.setdefault(score.metric, []).append(score)
    return scores


def _samples(job: ArmJob, info: RunInfo) -> Iterator[Sample]:
    there, digests = read_samples(job.folder), job.questions.digests
    for key in job.keys(info.repeats):
        if key in there and there[key].record == digests[key[0]]:
            yield there[key]


def threshold_of(samples: Sequence[Sample]) -> float | None:
    """Return the threshold that an experiment has chosen on other data, where it has."""
    for sample in samples:
        value = sample.extra.get("threshold")
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    return None


def _load(info: RunInfo) -> Load | None:
    """Return what answering has cost; None where nobody said."""
    if "tokens" not in info.load:
        return None
    load = info.load
    try:
        return Load(int(load["prompt_tokens"]), int(load["shared_tokens"]), int(load["tokens"]),
                    float(load["seconds"]),
                    load["peak_bytes"] and int(load["peak_bytes"]))  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None
