"""Comparisons and figures as an analysis has them, to be decided on."""

from __future__ import annotations

from typing import Any

from loragraft.experiment.analysis.model import Comparison, Condition, Figure, Protocol, Verdict
from loragraft.experiment.statistics import results
from loragraft.experiment.statistics.results import Interval
from loragraft.experiment.verdict.candidates import Context, LeakCheck, Standing

NEW, OLD = "hybrid", "plain"
CLEAN = LeakCheck("yes", "none of 90 test questions was found elsewhere")


def standings(**changes: Any) -> tuple[Standing, ...]:  # noqa: ANN401
    """Return a baseline and a candidate, of which values are changed."""
    return Standing(OLD, "it is the baseline"), Standing(NEW, **changes)


def context(**changes: Any) -> Context:  # noqa: ANN401
    """Return a context in which nothing stands in the way of a promotion."""
    return Context(**{"baseline": OLD, "standings": standings(), "leaks": CLEAN, **changes})


def outcome(p: float, count: int = 60) -> results.TestResult:
    """Return what a test says."""
    return results.TestResult("exact McNemar", p, None, count)


def compared(
    low: float,
    observed: float,
    high: float,
    *,
    p: float = 0.001,
    **changes: Any,  # noqa: ANN401
) -> Comparison:
    """Return a comparison on factuality with such an interval, over 400 questions."""
    method = changes.pop("method", "bootstrap over papers")
    values: dict[str, Any] = {
        "metric": "factuality", "experiment": NEW, "baseline": OLD,
        "value": 0.6 + observed, "baseline_value": 0.6, "difference": observed,
        "interval": Interval(low, high, 0.95, method), "count": 400, "papers": 400, "excluded": 0,
        "test": outcome(p), "others": (), "adjusted": p, "family": "gating", "d_z": None,
        "better": 40, "worse": 20, "smallest": None,
        "protocol": Protocol(outcome(p), observed / 0.5, observed / 0.6),
    }  # fmt: skip
    return Comparison(**{**values, **changes})


def grounded(
    lower: float | None,
    value: float | None,
    upper: float | None,
    **changes: Any,  # noqa: ANN401
) -> Figure:
    """Return a figure of grounding with such one-sided bounds, over 400 answers."""
    interval = None if lower is None or upper is None else Interval(
        lower, upper, 0.95, "bootstrap over papers")  # fmt: skip
    values: dict[str, Any] = {
        "experiment": NEW, "metric": "grounding_coverage", "value": value, "interval": interval,
        "lower": lower, "upper": upper, "count": 400, "of": 400, "papers": 400,
    }  # fmt: skip
    return Figure(**{**values, **changes})


def condition(verdict: Verdict, name: str) -> Condition:
    """Return one of a verdict's conditions."""
    return next(one for one in verdict.conditions if one.name == name)
