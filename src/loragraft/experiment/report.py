"""A series' table, made of its records: what is not measured yet is measured first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.dataset.records import TaskRecord
from loragraft.engine.batch.protocol import Load
from loragraft.errors import LockedError
from loragraft.experiment.arm_run import ArmJob
from loragraft.experiment.compare import differences
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.judged import open_tools
from loragraft.experiment.questions import QuestionFile
from loragraft.experiment.records import NOT_APPLICABLE, Sample, Score
from loragraft.experiment.run_info import RunInfo, read_run
from loragraft.experiment.scoring import read_scores, score_arm
from loragraft.experiment.status import arm_status
from loragraft.experiment.store import Key, read_samples
from loragraft.experiment.table import Cell, Line, Pair, Row, Table, cell_of, pair_of

if TYPE_CHECKING:
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.metrics.aggregate import Aggregate
    from loragraft.experiment.metrics.protocol import MetricInfo

_DIAGNOSTIC = "diagnostic"


@dataclass(frozen=True)
class _Measured:
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


def make_table(config: SeriesConfig, shared: Shared, progress: Progress | None = None) -> Table:
    """Return all figures of a series.

    Args:
        config: The series.
        shared: What metrics may need to be computed: index, embedder.
        progress: Who hears of what is measured.

    Raises:
        InputError: If the questions cannot be read.
        LoragraftError: What a metric cannot do without.
    """
    progress = progress or Silent()
    file = QuestionFile(config)
    read: dict[str, _Measured] = {}
    infos: dict[str, MetricInfo] = {}
    with open_tools(config, lambda: shared) as tools:
        for name, experiment in config.experiments.items():
            questions = file.of(experiment.task)
            job = ArmJob(config, name, questions, lambda: shared, progress, tools=lambda: tools)
            if read_run(job.folder) is not None:
                _measure(job, progress)
                read[name] = _read(job, infos)
    lines = tuple(_line(config, name, file) for name in config.experiments)
    rows = tuple(
        Row(info, {name: _cell(info.name, read.get(name)) for name in config.experiments})
        for info in infos.values()
    )
    pairs, refused = _against_baseline(config, read, infos)
    sources: dict[str, dict[str, Any]] = {
        t: file.of(t).source for t in {e.task for e in config.experiments.values()}
    }
    return Table(config.series, config.size, config.resolve(config.baseline) or config.baseline,
                 sources, lines, rows, pairs, refused, _judged(config, file))  # fmt: skip


def _judged(config: SeriesConfig, file: QuestionFile) -> tuple[Mapping[str, Any], ...]:
    if config.judge is None:
        return ()
    from loragraft.experiment.judged import judged

    return tuple(result.summary.to_json() for result in judged(config, file))


def _measure(job: ArmJob, progress: Progress) -> None:
    """Bring an experiment's scores up to date; one that is at work keeps those that it has."""
    try:
        score_arm(job, progress=progress)
    except LockedError:
        progress.note(f"{job.name} is at work: its figures are those of the answers before.")


def _line(config: SeriesConfig, name: str, file: QuestionFile) -> Line:
    status = arm_status(config, name, file.of(config.experiments[name].task))
    aliases = tuple(alias for alias, meant in config.aliases.items() if meant == name)
    return Line(name, aliases, status.state, status.engine, status.total, status.counts,
                status.stale, status.message, status.notes)  # fmt: skip


def _read(job: ArmJob, infos: dict[str, MetricInfo]) -> _Measured:
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
    scores = _scores(job)
    load, threshold = _load(info), _threshold(samples)
    sanity = "sanity" in config.metrics.groups
    of_all = aggregates(task, samples, records, threshold=threshold, load=load, sanity=sanity)
    of_all += agreement([score for found in scores.values() for score in found])
    for metric in (*of_each, *barred, *(one.info for one in of_all)):
        infos.setdefault(metric.name, metric)
    return _Measured(info, samples, scores, {one.info.name: one for one in of_all},
                     {one.name: one for one in barred}, records)  # fmt: skip


def _scores(job: ArmJob) -> dict[str, list[Score]]:
    scores: dict[str, list[Score]] = {}
    for score in read_scores(job.folder):
        scores.setdefault(score.metric, []).append(score)
    return scores


def _samples(job: ArmJob, info: RunInfo) -> Iterator[Sample]:
    there, digests = read_samples(job.folder), job.questions.digests
    for key in job.keys(info.repeats):
        if key in there and there[key].record == digests[key[0]]:
            yield there[key]


def _threshold(samples: Sequence[Sample]) -> float | None:
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


def _cell(metric: str, measured: _Measured | None) -> Cell | None:
    if measured is None:
        return None
    if metric in measured.barred:
        return Cell(None, 0, len(measured.samples), NOT_APPLICABLE)
    if metric in measured.aggregates:
        one = measured.aggregates[metric]
        return Cell(one.value, one.count, one.of, one.reason, {}, None, one.detail)
    if metric not in measured.scores:
        return Cell(None, 0, len(measured.samples), NOT_APPLICABLE)
    return cell_of(measured.scores[metric])


def _against_baseline(
    config: SeriesConfig, read: Mapping[str, _Measured], infos: Mapping[str, MetricInfo]
) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """Compare every experiment with the baseline, metric by metric, where they may be compared."""
    baseline = config.resolve(config.baseline)
    base = read.get(baseline or "")
    pairs: list[Pair] = []
    refused: dict[str, str] = {}
    for name, measured in read.items():
        if base is None or baseline is None or name == baseline:
            continue
        differs = differences(measured.info, base.info)
        if differs:
            refused[name] = "; ".join(differs)
            continue
        for metric, info in infos.items():
            both = metric in measured.scores and metric in base.scores
            if both and info.tier != _DIAGNOSTIC:
                pair = pair_of(metric, (name, baseline), measured.scores[metric],
                               base.scores[metric])  # fmt: skip
                pairs += [] if pair is None else [pair]
        pairs += _aggregate_pairs(config, (name, baseline), measured, base)
    return tuple(pairs), refused


def _aggregate_pairs(
    config: SeriesConfig, names: tuple[str, str], mine: _Measured, theirs: _Measured
) -> Iterator[Pair]:
    """Compare what is measured of all samples together, over those that both have."""
    wanted = [
        name for name, one in mine.aggregates.items()
        if one.info.tier != _DIAGNOSTIC and name in theirs.aggregates
    ]  # fmt: skip
    keys = [{s.key for s in some.samples if s.status == "ok"} for some in (mine, theirs)]
    both = keys[0] & keys[1]
    asked = {s.key for some in (mine, theirs) for s in some.samples}
    if not wanted or not both:
        return
    found = [_aggregates_of(config, names[0], some, both) for some in (mine, theirs)]
    for name in wanted:
        values = [some[name].value if name in some else None for some in found]
        if values[0] is not None and values[1] is not None:
            yield Pair(name, *names, values[0], values[1], len(both), len(asked) - len(both))


def _aggregates_of(
    config: SeriesConfig, name: str, measured: _Measured, keys: Set[Key]
) -> dict[str, Aggregate]:
    """Measure those samples together whose keys are named."""
    from loragraft.experiment.metrics.aggregate import aggregates

    samples = [sample for sample in measured.samples if sample.key in keys]
    task = config.experiments[name].task
    found = aggregates(task, samples, measured.records, threshold=_threshold(samples),
                       sanity="sanity" in config.metrics.groups)  # fmt: skip
    return {one.info.name: one for one in found}
