"""How values are spread, for the plots: what a mean hides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from loragraft.experiment.analysis.model import Distribution
from loragraft.experiment.analysis.values import LARGEST, range_of
from loragraft.experiment.measured import Measured
from loragraft.experiment.metrics.numbers_scored import OUTPUT
from loragraft.experiment.metrics.speed import FIRST, PER_TOKEN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loragraft.experiment.metrics.protocol import MetricInfo

ALSO = (OUTPUT, FIRST, PER_TOKEN, "answer_tokens")
"""Diagnostics whose spread tells more than their mean."""
WIDE = 50.0
"""Times the least value: from there on bins of one width hold all but a few values in the first."""
BINS = 20


def distributions_of(
    arms: Mapping[str, Measured], infos: Mapping[str, MetricInfo]
) -> Iterator[Distribution]:
    """Yield how the values of samples are spread, in the same bins for all experiments.

    What is right or wrong, 0 or 1, has no spread that its mean does not tell.

    Args:
        arms: The experiments' records.
        infos: The metrics.
    """
    for info in infos.values():
        if info.tier != "main" and info.name not in ALSO:
            continue
        values = {name: found for name, one in arms.items() if (found := _values(one, info.name))}
        distinct = {value for found in values.values() for value in found}
        if distinct and not (info.unit == "share" and distinct <= {0.0, 1.0}):
            yield from _of_metric(info, values)


def _values(measured: Measured, metric: str) -> list[float]:
    found = (one.value for one in measured.scores.get(metric, ()))
    return [value for value in found if value is not None and abs(value) <= LARGEST]


def _of_metric(info: MetricInfo, values: Mapping[str, Sequence[float]]) -> Iterator[Distribution]:
    import numpy as np

    every = np.concatenate([np.asarray(found, np.float64) for found in values.values()])
    log = bool(every.min() > 0 and every.max() / WIDE > every.min())
    edges = _edges(every, *range_of(info), log=log)
    for name, found in values.items():
        here = np.asarray(found, np.float64)
        counts = np.histogram(here, edges)[0]
        yield Distribution(
            name,
            info.name,
            info.unit,
            tuple(map(float, edges)),
            tuple(map(int, counts)),
            float(here.mean()),
            float(here.std()),
            float(here.min()),
            float(here.max()),
            len(set(found)),
            log,
        )


def _edges(
    values: NDArray[np.float64], low: float | None, high: float | None, *, log: bool
) -> NDArray[np.float64]:
    """Return edges of bins over all values; over all possible ones, where both ends are known."""
    import numpy as np

    least, greatest = float(values.min()), float(values.max())
    if low is not None and high is not None:
        least, greatest = min(least, low), max(greatest, high)
    if least == greatest:
        half = abs(least) / 2 or 0.5
        return np.array([least - half, least + half])
    if log:
        edges = np.geomspace(least, greatest, BINS + 1)
    else:
        edges = np.linspace(least, greatest, BINS + 1)
    edges[0], edges[-1] = least, greatest  # rounding must leave no value outside
    return edges
