"""A series' table, made of its records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

from loragraft.artifact.progress import Progress
from loragraft.experiment.compare import differences
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.judged import open_tools
from loragraft.experiment.measured import Measured, MeasuredSeries, measure_series, threshold_of
from loragraft.experiment.questions import QuestionFile
from loragraft.experiment.records import NOT_APPLICABLE
from loragraft.experiment.status import arm_status
from loragraft.experiment.store import Key
from loragraft.experiment.table import NO_ANSWERS, Cell, Line, Pair, Row, Table, cell_of, pair_of

if TYPE_CHECKING:
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.metrics.aggregate import Aggregate

_DIAGNOSTIC = "diagnostic"


def make_table(config: SeriesConfig, shared: Shared, progress: Progress | None = None) -> Table:
    """Return all figures of a series, measuring first what is not measured yet.

    Args:
        config: The series.
        shared: What metrics may need to be computed: index, embedder.
        progress: Who hears of what is measured.

    Raises:
        InputError: If the questions cannot be read.
        LoragraftError: What a metric cannot do without.
    """
    with open_tools(config, lambda: shared) as tools:
        return table_of(measure_series(config, shared, tools, progress))


def table_of(series: MeasuredSeries) -> Table:
    """Return all figures of a series.

    Args:
        series: Its records.
    """
    config, file = series.config, series.file
    rows = tuple(
        Row(info, {name: _cell(info.name, series.arms.get(name)) for name in config.experiments})
        for info in series.infos.values()
    )
    pairs, refused = _against_baseline(series)
    sources: dict[str, dict[str, Any]] = {
        t: file.of(t).source for t in {e.task for e in config.experiments.values()}
    }
    return Table(config.series, config.size, series.baseline, sources,
                 tuple(_line(config, name, file) for name in config.experiments), rows, pairs,
                 refused, _judged(config, file))  # fmt: skip


def _judged(config: SeriesConfig, file: QuestionFile) -> tuple[Mapping[str, Any], ...]:
    if config.judge is None:
        return ()
    from loragraft.experiment.judged import judged

    return tuple(result.summary.to_json() for result in judged(config, file))


def _line(config: SeriesConfig, name: str, file: QuestionFile) -> Line:
    status = arm_status(config, name, file.of(config.experiments[name].task))
    aliases = tuple(alias for alias, meant in config.aliases.items() if meant == name)
    return Line(name, aliases, status.state, status.engine, status.total, status.counts,
                status.stale, status.message, status.notes, status.unseen)  # fmt: skip


def _cell(metric: str, measured: Measured | None) -> Cell | None:
    if measured is None:
        return None
    if metric in measured.barred:
        return Cell(None, 0, len(measured.samples), NOT_APPLICABLE)
    if metric in measured.aggregates:
        one = measured.aggregates[metric]
        return Cell(one.value, one.count, one.of, one.reason, {}, None, one.detail)
    if metric not in measured.scores:
        reason = NOT_APPLICABLE if measured.samples else NO_ANSWERS
        return Cell(None, 0, len(measured.samples), reason)
    return cell_of(measured.scores[metric])


def _against_baseline(series: MeasuredSeries) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """Compare every experiment with the baseline, metric by metric, where they may be compared."""
    baseline = series.baseline
    base = series.arms.get(baseline)
    pairs: list[Pair] = []
    refused: dict[str, str] = {}
    for name, measured in series.arms.items():
        if base is None or name == baseline:
            continue
        differs = differences(measured.info, base.info)
        if differs:
            refused[name] = "; ".join(differs)
            continue
        for metric, info in series.infos.items():
            both = metric in measured.scores and metric in base.scores
            if both and info.tier != _DIAGNOSTIC:
                pair = pair_of(metric, (name, baseline), measured.scores[metric],
                               base.scores[metric])  # fmt: skip
                pairs += [] if pair is None else [pair]
        pairs += _aggregate_pairs(series.config, (name, baseline), measured, base)
    return tuple(pairs), refused


def _aggregate_pairs(
    config: SeriesConfig, names: tuple[str, str], mine: Measured, theirs: Measured
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
    config: SeriesConfig, name: str, measured: Measured, keys: Set[Key]
) -> dict[str, Aggregate]:
    """Measure those samples together whose keys are named."""
    from loragraft.experiment.metrics.aggregate import aggregates

    samples = [sample for sample in measured.samples if sample.key in keys]
    task = config.experiments[name].task
    found = aggregates(task, samples, measured.records, threshold=threshold_of(samples),
                       sanity="sanity" in config.metrics.groups)  # fmt: skip
    return {one.info.name: one for one in found}
