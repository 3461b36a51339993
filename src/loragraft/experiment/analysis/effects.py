"""What tuning and retrieval add, and what an export has cost: more than pairs with the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from loragraft.experiment.analysis.model import Effect
from loragraft.experiment.analysis.numbers import difference, signed
from loragraft.experiment.analysis.values import (
    asked_of,
    papers_of,
    range_of,
    values_by_question,
)
from loragraft.experiment.compare import differences
from loragraft.experiment.measured import Measured, MeasuredSeries
from loragraft.experiment.statistics.equivalence import Equivalence, equivalence
from loragraft.experiment.statistics.factorial import Arms, Contrast, contrasts
from loragraft.experiment.statistics.results import Interval
from loragraft.experiment.statistics.sample import paired

_SAID: Mapping[str, str] = {
    "tuning": "Tuning changes {metric} by {value}, over both with and without passages",
    "retrieval": "Passages change {metric} by {value}, over both the plain and the tuned model",
    "interaction": "With passages, tuning changes {metric} by {value} more than without",
}
_PARTS: Mapping[str, tuple[str, str]] = {
    "tuning": ("tuning without retrieval", "tuning with retrieval"),
    "retrieval": ("retrieval without tuning", "retrieval with tuning"),
}
"""Simple effects that an effect is the mean of, as its sentence tells them."""
_CHANCE = 0.05


def factorial_of(series: MeasuredSeries, metric: str) -> tuple[Effect, ...]:
    """Return the effects of tuning, retrieval and both; none where an experiment is missing.

    Args:
        series: The records; its configuration names the four.
        metric: Of questions.
    """
    asked = series.config.factorial
    if asked is None or metric not in series.infos:
        return ()
    names = (asked.base, asked.tuned, asked.base_retrieval, asked.tuned_retrieval)
    arms = _comparable(series, names)
    values = [values_by_question(one, metric) for one in arms]
    if not values or not set.intersection(*(set(one) for one in values)):
        return ()
    low, high = range_of(series.infos[metric])
    found = contrasts(Arms(*values), papers_of(arms[0]), low=low, high=high,
                      asked=max(map(asked_of, arms)))  # fmt: skip
    by_name = {str(one.name): one for one in found}
    return tuple(_contrast(by_name, name, metric, series.infos[metric].unit) for name in _SAID)


def _contrast(found: Mapping[str, Contrast], name: str, metric: str, unit: str) -> Effect:
    one = found[name]
    said = _SAID[name].format(metric=metric, value=difference(one.value, unit))
    parts = [f"{difference(found[part].value, unit)} {part.split(' ', 1)[1]}"
             for part in _PARTS.get(name, ())]  # fmt: skip
    simple = f": {', '.join(parts)}" if parts else ""
    sentence = f"{said}{simple} ({_between(one.interval, unit)}){_chance(one.test.p)}"
    return Effect(name, metric, one.value, one.interval, one.test.p, one.count, sentence)


def fidelity_of(series: MeasuredSeries, metric: str) -> Iterator[Effect]:
    """Yield what each step of an export has cost, beside what was exported.

    Args:
        series: The records; its configuration names the steps.
        metric: Of questions, where the configuration names none.
    """
    asked = series.config.fidelity
    metric = metric if asked is None or asked.metric is None else asked.metric
    if asked is None or metric not in series.infos:
        return
    for step in asked.steps:
        arms = _comparable(series, (step, asked.reference))
        values = [values_by_question(one, metric) for one in arms]
        if not values or not values[0].keys() & values[1].keys():
            continue
        mine, theirs = values
        pair = paired(mine, theirs, papers_of(arms[0]), asked=max(map(asked_of, arms)))
        low, high = range_of(series.infos[metric])
        found = equivalence(pair, asked.bound, low=low, high=high)
        yield _step(step, asked.reference, metric, series.infos[metric].unit, found)


def _step(step: str, reference: str, metric: str, unit: str, found: Equivalence) -> Effect:
    bound = difference(found.bound, unit).removeprefix("+")
    change = f"{difference(found.value, unit)} ({_between(found.interval, unit)})"
    verdict = f"as good as the same: surely within {bound}"
    if not found.equivalent:
        beyond = found.lower > found.bound or found.upper < -found.bound
        verdict = f"surely differs by more than {bound}" if beyond else (
            f"may differ by more than {bound}: so few questions cannot tell")  # fmt: skip
    sentence = f"{step} beside {reference}: {metric} {change}; {verdict}."
    return Effect(step, metric, found.value, found.interval, found.different.p, found.count,
                  sentence, found.equivalent, found.bound)  # fmt: skip


def missing_effects(series: MeasuredSeries) -> Iterator[str]:
    """Yield why the 2x2 or the cost of an export cannot be told, as sentences."""
    config = series.config
    named: dict[str, tuple[str, ...]] = {}
    if config.factorial is not None:
        named["The 2x2 of tuning by retrieval"] = tuple(config.factorial.model_dump().values())
    if config.fidelity is not None:
        named["What the export has cost"] = (config.fidelity.reference, *config.fidelity.steps)
    for what, names in named.items():
        absent = [name for name in names if config.resolve(name) not in series.arms]
        if absent:
            yield f"{what} cannot be told: {', '.join(absent)} was not run."
        elif not _comparable(series, names):
            yield f"{what} cannot be told: {', '.join(names)} were not asked the same."


def _comparable(series: MeasuredSeries, names: tuple[str, ...]) -> list[Measured]:
    """Return experiments by name; none where one is missing, or was asked something else."""
    found = [series.arms.get(series.config.resolve(name) or "") for name in names]
    arms = [one for one in found if one is not None]
    if len(arms) < len(names) or any(differences(one.info, arms[0].info) for one in arms):
        return []
    return arms


def _between(interval: Interval, unit: str) -> str:
    return f"between {signed(interval.low, unit)} and {signed(interval.high, unit)}"


def _chance(p: float) -> str:
    return "." if p < _CHANCE else "; that may be chance."
