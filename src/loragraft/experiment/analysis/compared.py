"""Every experiment beside the baseline, metric by metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from loragraft.experiment.analysis.comparing import adjust, compare_paired
from loragraft.experiment.analysis.model import Comparison
from loragraft.experiment.analysis.values import (
    Given,
    asked_of,
    pair_values,
    papers_of,
    range_of,
)
from loragraft.experiment.measured import Measured
from loragraft.experiment.statistics.sample import paired

if TYPE_CHECKING:
    from loragraft.experiment.metrics.protocol import MetricInfo

_DIAGNOSTIC = "diagnostic"


@dataclass(frozen=True)
class Gating:
    """Which comparisons a promotion rests on.

    Attributes:
        metric: Of them; None where nothing is promoted.
        experiments: The candidates.
    """

    metric: str | None = None
    experiments: Set[str] = frozenset()


def comparisons_of(
    arms: Mapping[str, Measured],
    infos: Mapping[str, MetricInfo],
    baseline: str,
    *,
    refused: Set[str] = frozenset(),
    given: Given = MappingProxyType({}),
    gating: Gating = Gating(),
) -> tuple[Comparison, ...]:
    """Compare experiments with the baseline over the questions that both have.

    Args:
        arms: The experiments' records.
        infos: The metrics, in the order of tables; diagnostics are compared by nobody.
        baseline: Its name.
        refused: Experiments that cannot be compared.
        given: Values that pairs have.
        gating: What a promotion rests on.

    Returns:
        With p-values corrected within each family.
    """
    if baseline not in arms:
        return ()
    others = [name for name in arms if name != baseline and name not in refused]
    found = (
        _compared(info, arms, (name, baseline), gating, given)
        for info in infos.values()
        if info.tier != _DIAGNOSTIC
        for name in others
    )
    return adjust([one for some in found for one in some])


def _compared(
    info: MetricInfo,
    arms: Mapping[str, Measured],
    names: tuple[str, str],
    gating: Gating,
    given: Given,
) -> Iterator[Comparison]:
    """Yield the comparison of two experiments; none where no question has both values."""
    mine, theirs = pair_values(arms, names, info.name, given)
    if not mine.keys() & theirs.keys():
        return
    papers = {**papers_of(arms[names[1]]), **papers_of(arms[names[0]])}
    asked = max(asked_of(arms[name]) for name in names)
    if (info.name, names[0]) in given:  # a judge is not shown more questions than it is to decide
        asked = given[info.name, names[0]].asked
    pair = paired(mine, theirs, papers, asked=asked)
    low, high = range_of(info)
    gates = info.name == gating.metric and names[0] in gating.experiments
    yield compare_paired(
        pair,
        metric=info.name,
        names=names,
        better=info.better,
        family="gating" if gates else "exploratory",
        low=low,
        high=high,
    )
