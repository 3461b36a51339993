"""What raters have said of a series."""

from __future__ import annotations

from typing import Any

from loragraft.experiment.judged import samples_of
from loragraft.experiment.measured import MeasuredSeries


def human_of(series: MeasuredSeries) -> dict[str, Any] | None:
    """Return what raters said of each export, by its name; None where nobody was asked.

    Raises:
        InputError: If a file of the exports cannot be read.
    """
    from loragraft.experiment.human.tier import Tier

    tier = Tier(
        series.config,
        lambda task: series.file.of(task).records,
        lambda name: samples_of(series.config, series.file, name),
    )
    return {one.export: one.to_json() for one in tier.summaries()} or None
