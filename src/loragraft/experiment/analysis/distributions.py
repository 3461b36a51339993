"""How values are spread, for the plots: what a mean hides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from loragraft.experiment.analysis.model import Distribution
from loragraft.experiment.analysis.values import LARGEST, range_of
from loragraft.experiment.measured import Measured
from loragraft.experiment.metrics.distribution import distribution_of
from loragraft.experiment.metrics.numbers_scored import OUTPUT
from loragraft.experiment.metrics.speed import FIRST, PER_TOKEN

if TYPE_CHECKING:
    from loragraft.experiment.metrics.protocol import MetricInfo

ALSO = (OUTPUT, FIRST, PER_TOKEN, "answer_tokens")
"""Diagnostics whose spread tells more than their mean."""
WIDE = 50.0
"""Times the least value: from there on bins of one width hold all but a few values in the first."""


def distributions_of(
    arms: Mapping[str, Measured], infos: Mapping[str, MetricInfo]
) -> Iterator[Distribution]:
    """Yield how the values of each sample are spread.

    Args:
        arms: The experiments' records.
        infos: The metrics.
    """
    for info in infos.values():
        if info.tier == "main" or info.name in ALSO:
            for name, measured in arms.items():
                scores = measured.scores.get(info.name, ())
                values = [one.value for one in scores
                          if one.value is not None and abs(one.value) <= LARGEST]  # fmt: skip
                if values:
                    yield _distribution(name, info, values)


def _distribution(name: str, info: MetricInfo, values: Sequence[float]) -> Distribution:
    log = min(values) > 0 and max(values) / min(values) > WIDE
    low, high = range_of(info)
    ends = {"low": low, "high": high} if high is not None else {}
    found = distribution_of([math.log(v) for v in values]) if log else distribution_of(
        values, **ends
    )  # fmt: skip
    whole = distribution_of(values) if log else found
    edges = tuple(map(math.exp, found.edges)) if log else found.edges
    ends_seen = (min(values), max(values))
    return Distribution(name, info.name, info.unit, edges, found.bins, whole.mean or 0.0,
                        whole.std or 0.0, *ends_seen, whole.distinct, log)  # fmt: skip
