"""Which metrics an experiment has, and their scores.

A metric is one function that returns it, one line in ``_PLANS``, and a section of docs/metrics.md.
Packages are imported when a metric is made, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from loragraft.dataset.records import TaskRecord
from loragraft.experiment.config import MetricGroup, MetricsConfig, TaskKind
from loragraft.experiment.metrics.measured import EachSample
from loragraft.experiment.metrics.protocol import Metric, MetricInfo
from loragraft.experiment.records import Sample, Score

if TYPE_CHECKING:
    from loragraft.experiment.metrics.opening import Tools


@dataclass(frozen=True)
class MetricContext:
    """What a metric may need of the experiment and of the series.

    Attributes:
        retrieval: Whether its questions get passages that a search finds.
        stuffed: Whether they get whole documents.
        passages: How many are found for each.
        probabilities: Whether its engine shows how likely a text is.
        judge: Whether the series has a judge.
        tools: What metrics open when they are computed; None where they are only listed.
    """

    retrieval: bool = False
    stuffed: bool = False
    passages: int = 5
    probabilities: bool = False
    judge: bool = False
    tools: Tools | None = None


@dataclass(frozen=True)
class NotApplicable:
    """A metric that an experiment cannot have: never 0, never missing.

    Attributes:
        info: The metric.
        reason: Why not, for people.
    """

    info: MetricInfo
    reason: str


@dataclass(frozen=True)
class _Plan:
    """A metric that may be wanted.

    Attributes:
        group: Of the configuration; None for what is always measured.
        kinds: Records that it is for.
        make: Returns it.
        barred: Returns why an experiment cannot have it; empty where it can.
        wanted: Whether a configuration asks for it beside its group.
    """

    group: MetricGroup | None
    kinds: tuple[TaskKind, ...]
    make: Callable[[MetricsConfig, MetricContext], Metric]
    barred: Callable[[MetricsConfig, MetricContext], str] = field(default=lambda *_: "")
    wanted: Callable[[MetricsConfig], bool] = field(default=lambda config: True)


def metrics_for(config: MetricsConfig, kind: TaskKind, context: MetricContext) -> list[Metric]:
    """Return the metrics of an experiment.

    Args:
        config: Which groups are wanted.
        kind: Of its records.
        context: What it is.

    Raises:
        MissingExtraError: If a package of the extra ``report`` is missing.
    """
    plans = _wanted(config, kind)
    return [plan.make(config, context) for plan in plans if not plan.barred(config, context)]


def not_applicable(
    config: MetricsConfig, kind: TaskKind, context: MetricContext
) -> list[NotApplicable]:
    """Return what is wanted and cannot be had of an experiment of this kind."""
    return [
        NotApplicable(info, reason)
        for plan in _wanted(config, kind)
        if (reason := plan.barred(config, context))
        for info in plan.make(config, context).infos
    ]


def catalogue(kind: TaskKind, passages: int) -> list[MetricInfo]:
    """Return all metrics of each sample that a kind of records may have, in the order of tables.

    Args:
        kind: Of the records.
        passages: How many a question got.
    """
    config = MetricsConfig(groups=get_args(MetricGroup))
    context = MetricContext(retrieval=True, passages=passages, probabilities=True, judge=True)
    return [info for plan in _PLANS if kind in plan.kinds
            for info in plan.make(config, context).infos]  # fmt: skip


def compute(
    metrics: Iterable[Metric], samples: Sequence[Sample], records: Mapping[str, TaskRecord]
) -> Iterator[Score]:
    """Yield every metric's scores, metric by metric: one of each name for each sample."""
    for metric in metrics:
        yield from metric.scores(samples, records)


def identity(metrics: Iterable[Metric]) -> dict[str, Any]:
    """Return what decides the scores beside samples and records: the metrics' key."""
    return {" ".join(info.name for info in one.infos): one.identity() for one in metrics}


def _wanted(config: MetricsConfig, kind: TaskKind) -> Iterator[_Plan]:
    for plan in _PLANS:
        grouped = plan.group is None or plan.group in config.groups
        if kind in plan.kinds and grouped and plan.wanted(config):
            yield plan


def _sanity(config: MetricsConfig, context: MetricContext) -> EachSample:
    from loragraft.experiment.metrics.text import sanity

    return sanity()


def _perplexity(config: MetricsConfig, context: MetricContext) -> EachSample:
    from loragraft.experiment.metrics.perplexity import perplexity

    return perplexity()


def _factuality(config: MetricsConfig, context: MetricContext) -> Metric:
    from loragraft.experiment.metrics.factuality import ByClaims, by_match
    from loragraft.experiment.metrics.opening import LazySupport

    tools = context.tools
    if config.factuality == "match":
        return by_match()
    ways = dict.fromkeys((config.factuality, "overlap"))  # the second is cheap: to compare with
    supports = tuple(LazySupport(way, tools) for way in ways)
    return ByClaims(supports, tools.gold if tools else _no_gold, config.long_answer)


def _no_gold(record: TaskRecord) -> Sequence[str]:
    return ()


def _judged(config: MetricsConfig, context: MetricContext) -> Metric:
    from loragraft.experiment.metrics.factuality import ByJudge
    from loragraft.experiment.metrics.opening import no_tools

    tools = context.tools
    return ByJudge(tools.correct, tools.judging) if tools else ByJudge(no_tools, no_tools)


def _grounding(config: MetricsConfig, context: MetricContext) -> Metric:
    from loragraft.experiment.metrics.grounding.metric import GroundingMetric
    from loragraft.experiment.metrics.opening import LazySupport

    return GroundingMetric(LazySupport(config.grounding.support, context.tools))


def _retrieval(config: MetricsConfig, context: MetricContext) -> EachSample:
    from loragraft.experiment.metrics.retrieval import retrieval

    return retrieval(context.passages)


def _misses(config: MetricsConfig, context: MetricContext) -> EachSample:
    from loragraft.experiment.metrics.facts.match import VERSION
    from loragraft.experiment.metrics.factuality import is_right
    from loragraft.experiment.metrics.retrieval import misses

    return misses(is_right, VERSION)


def _errors(config: MetricsConfig, context: MetricContext) -> EachSample:
    from loragraft.experiment.metrics.numbers_scored import number_errors

    return number_errors()


def _cosines(config: MetricsConfig, context: MetricContext) -> EachSample:
    from loragraft.experiment.metrics.numbers_scored import cosines

    return cosines()


def _speed(config: MetricsConfig, context: MetricContext) -> EachSample:
    from loragraft.experiment.metrics.speed import speed

    return speed()


def _no_search(config: MetricsConfig, context: MetricContext) -> str:
    found = context.retrieval and not context.stuffed
    return "" if found else "the experiment searches for nothing"


def _no_passages(config: MetricsConfig, context: MetricContext) -> str:
    found = context.retrieval or context.stuffed
    return "" if found else "the experiment shows no passages that could be cited"


def _no_probabilities(config: MetricsConfig, context: MetricContext) -> str:
    return "" if context.probabilities else "the engine shows no probabilities"


_TEXTS: tuple[TaskKind, ...] = ("qa", "reply")
_PLANS = (
    _Plan("factuality", ("qa",), _factuality),
    _Plan("factuality", ("qa",), _judged, wanted=lambda config: config.factuality == "judge"),
    _Plan("grounding", ("qa",), _grounding, _no_passages),
    _Plan("retrieval", ("qa",), _retrieval, _no_search),
    _Plan("retrieval", ("qa",), _misses, _no_search),
    _Plan("sanity", _TEXTS, _sanity),
    _Plan("perplexity", ("qa",), _perplexity, _no_probabilities),
    _Plan(None, ("score",), _errors),
    _Plan(None, ("embedding",), _cosines),
    _Plan(None, ("qa", "reply", "score"), _speed),
)
"""In the order of tables."""
