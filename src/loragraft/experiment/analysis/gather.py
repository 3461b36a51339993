"""What a series means, gathered from its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loragraft import __version__
from loragraft.artifact.progress import Progress
from loragraft.experiment.analysis.browse import browsable
from loragraft.experiment.analysis.compared import comparisons_of
from loragraft.experiment.analysis.controls import controls_of
from loragraft.experiment.analysis.deciding import gating_of, verdicts_of
from loragraft.experiment.analysis.distributions import distributions_of
from loragraft.experiment.analysis.effects import factorial_of, fidelity_of
from loragraft.experiment.analysis.figures import figures_of
from loragraft.experiment.analysis.model import Analysis, Browsable, Control
from loragraft.experiment.analysis.people import human_of
from loragraft.experiment.analysis.points import with_points
from loragraft.experiment.analysis.provenance import provenance_of, sources_of
from loragraft.experiment.analysis.slices import slices_of
from loragraft.experiment.analysis.values import Given
from loragraft.experiment.analysis.warnings import warnings_of
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.judged import open_tools
from loragraft.experiment.measured import MeasuredSeries, measure_series
from loragraft.experiment.report import table_of
from loragraft.experiment.run_info import utc_now
from loragraft.experiment.table import Table
from loragraft.experiment.verdict.leakage import Leakage, check_leaks

if TYPE_CHECKING:
    from loragraft.experiment.arms.opening import Shared

FACTUALITY = "factuality"
"""What wins are counted by where a series promotes nothing."""


@dataclass(frozen=True)
class Gathered:
    """A series, read once.

    Attributes:
        table: Every figure, as a table.
        analysis: What the figures mean.
        series: The records, for what is made of them.
        given: Values that pairs have, by metric and experiment.
    """

    table: Table
    analysis: Analysis
    series: MeasuredSeries
    given: Given

    def browsable(self) -> Browsable:
        """Return all samples, to be looked through."""
        series = self.series
        return browsable(
            series.arms,
            series.infos,
            baseline=series.baseline,
            metric=main_metric(series),
            seen=seen_of(series),
            given=self.given,
        )


def analyse(
    config: SeriesConfig, shared: Shared, progress: Progress | None = None, file: Path | None = None
) -> Analysis:
    """Return what a series means, measuring first what is not measured yet.

    Args:
        config: The series.
        shared: What metrics may need to be computed: index, embedder.
        progress: Who hears of what is measured.
        file: Where the configuration stands, for the commands that are named as next steps.

    Raises:
        InputError: If the questions cannot be read.
        LoragraftError: What a metric cannot do without.
    """
    return gather(config, shared, progress, file).analysis


def gather(
    config: SeriesConfig, shared: Shared, progress: Progress | None = None, file: Path | None = None
) -> Gathered:
    """Return what a series means, with its table and its records; see :func:`analyse`."""
    with open_tools(config, lambda: shared) as tools:
        series = measure_series(config, shared, tools, progress)
        controls = controls_of(config, series.arms, tools, progress)
    table = table_of(series)
    series, given = with_points(series)
    beside = _Beside(controls, check_leaks(config, progress), given, file)
    return Gathered(table, _analysis(series, table, beside), series, given)


def main_metric(series: MeasuredSeries) -> str:
    """Return the metric that decides which experiment does a question better."""
    rule = series.config.promotion
    wanted = FACTUALITY if rule is None else rule.metric
    main = [info.name for info in series.infos.values() if info.tier == "main"]
    return wanted if wanted in series.infos or not main else main[0]


def seen_of(series: MeasuredSeries) -> Mapping[str, bool | None]:
    """Tell of each question whether its paper is in training; nothing where nobody knows."""
    from loragraft.dataset.split.load import find_split

    data = series.config.data
    if data.tag is None or data.part != "test":
        return {}
    return find_split(data.tag, data.splits, parts=(data.part,)).seen_in_training()


@dataclass(frozen=True)
class _Beside:
    """What is looked at beside the experiments' own figures."""

    controls: tuple[Control, ...]
    leaks: Leakage
    given: Given
    file: Path | None


def _analysis(series: MeasuredSeries, table: Table, beside: _Beside) -> Analysis:
    config, arms, infos, rule = series.config, series.arms, series.infos, series.config.promotion
    figures = tuple(figures_of(arms, infos, beside.given))
    comparisons = comparisons_of(arms, infos, series.baseline, refused=table.refused.keys(),
                                 given=beside.given, gating=gating_of(series))  # fmt: skip
    return Analysis(
        title=f"{config.series}, {config.size}" if config.size else config.series,
        series=config.series,
        size=config.size,
        baseline=series.baseline,
        created=utc_now(),
        version=__version__,
        rule={} if rule is None else rule.model_dump(mode="json"),
        verdicts=verdicts_of(series, table, figures=figures, comparisons=comparisons,
                             controls=beside.controls, leaks=beside.leaks.check, file=beside.file),
        experiments=_experiments(series, table),
        metrics={info.name: asdict(info) for info in infos.values()},
        figures=figures,
        comparisons=comparisons,
        refused=table.refused,
        factorial=factorial_of(series, main_metric(series)),
        fidelity=tuple(fidelity_of(series, main_metric(series))),
        slices=tuple(slices_of(arms, infos, seen_of(series))),
        distributions=tuple(distributions_of(arms, infos)),
        controls=beside.controls,
        judged=table.judged,
        human=human_of(series),
        leaks=beside.leaks.report,
        questions=table.questions,
        warnings=tuple(warnings_of(series, table, beside.controls)),
    )  # fmt: skip


def _experiments(series: MeasuredSeries, table: Table) -> dict[str, dict[str, Any]]:
    """Return what a table tells of each experiment, and what it was made from."""
    shared = sources_of(series.config)
    found = {}
    for line in table.lines:
        measured = series.arms.get(line.name)
        made = {} if measured is None else {**provenance_of(measured.info), **shared}
        about = series.config.experiments[line.name].description
        found[line.name] = {**asdict(line), "description": about, "provenance": made}
    return found
