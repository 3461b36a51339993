"""Where things stand on a plot: axes with round ticks, and places in percent of the width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loragraft.experiment.analysis.numbers import bare, signed, trimmed

MOST_TICKS = 6
_STEPS = (1, 2, 2.5, 5, 10)
_NARROWEST = 1e-12
MINUS = "\u2212"
LOOKS = 6
"""Colours and markers that experiments have, the baseline's first; then they begin again."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A line of values.

    Attributes:
        low: Its left end.
        high: Its right end.
        ticks: In order.
        log: Whether it is even in the logarithm; then all values are above 0.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...] = ()
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value, in percent of the width; at the edge if outside."""
        low, high, here = (self._on(one) for one in (self.low, self.high, value))
        share = (here - low) / (high - low) if high > low else 0.5
        return round(min(max(share, 0.0), 1.0) * 100, 3)

    def _on(self, value: float) -> float:
        return math.log(max(value, _NARROWEST)) if self.log else value


def axis_over(values: Iterable[float], unit: str, *, gaps: bool = False) -> Axis:
    """Return an axis over all values, with some room and round ticks.

    Args:
        values: What it must show.
        unit: Of the metric.
        gaps: Whether they are differences: ticks then have signs.
    """
    found = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(found), max(found)
    room = (high - low) * 0.06 or max(abs(high), 1.0) * 0.1
    low, high = low - room, high + room
    step = _step(high - low)
    first, last = math.ceil(low / step), math.floor(high / step)
    spell = signed if gaps else bare
    places = [number * step for number in range(first, last + 1)]
    axis = Axis(low, high)
    ticks = tuple(Tick(axis.at(place), _short(spell(place, unit))) for place in places)
    return Axis(low, high, ticks)


def share_axis() -> Axis:
    """Return the axis from 0 to 100 %."""
    ticks = tuple(Tick(place * 100, f"{place * 100:.0f}") for place in (0, 0.25, 0.5, 0.75, 1))
    return Axis(0, 1, ticks)


def bins_axis(edges: Sequence[Sequence[float]], unit: str, *, log: bool) -> Axis:
    """Return an axis over the bins of several histograms, with its ends and middle told."""
    low, high = min(one[0] for one in edges), max(one[-1] for one in edges)
    log = log and low > 0
    middle = math.sqrt(low * high) if log else (low + high) / 2
    axis = Axis(low, high, (), log)
    places = (low, middle, high) if high > low else (low,)
    ticks = tuple(Tick(axis.at(place), _short(bare(place, unit))) for place in places)
    return Axis(low, high, ticks, log)


def only_axis(axis: Axis, value: float, unit: str) -> Axis:
    """Return an axis that tells one value only: bins around it have no meaning of their own."""
    tick = Tick(axis.at(value), _short(bare(value, unit)))
    return Axis(axis.low, axis.high, (tick,), axis.log)


def _step(width: float) -> float:
    """Return the smallest round step that gives few enough ticks."""
    rough = max(width, _NARROWEST) / MOST_TICKS
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(one * power for one in _STEPS if one * power >= rough * (1 - 1e-9))


def _short(text: str) -> str:
    """Return a figure without zeros that say nothing."""
    return trimmed(text).replace("-", MINUS)
