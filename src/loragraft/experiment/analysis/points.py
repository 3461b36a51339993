"""A judge's points as a metric: a pair of answers has them, no answer alone."""

from __future__ import annotations

from dataclasses import replace

from loragraft.experiment.analysis.values import Given
from loragraft.experiment.measured import MeasuredSeries
from loragraft.experiment.verdict.judge_points import INFO, judge_points


def with_points(series: MeasuredSeries) -> tuple[MeasuredSeries, Given]:
    """Return a series with the metric that its promotion asks a judge for, and what the judge gave.

    Raises:
        InputError: If a file of verdicts cannot be read.
    """
    rule = series.config.promotion
    if rule is None or rule.metric != INFO.name:
        return series, {}
    given = {
        (INFO.name, name): judge_points(series.config, series.file, name)
        for name in series.arms
        if name != series.baseline
    }
    return replace(series, infos={INFO.name: INFO, **series.infos}), given
