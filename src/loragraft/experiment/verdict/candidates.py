"""Which experiments a promotion is asked of, and how they stand apart from their figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from loragraft.experiment.analysis.model import Control, Met
from loragraft.experiment.verdict.wording import listed

if TYPE_CHECKING:
    from loragraft.experiment.config import SeriesConfig
    from loragraft.experiment.table import Line

COMPLETE = "complete"
SHUFFLED = "shuffled passages"
"""The control under which grounding must fall."""


@dataclass(frozen=True)
class LeakCheck:
    """Whether test questions leaked.

    Attributes:
        met: ``yes`` for none found, ``no`` for some, ``open`` where nobody could look.
        measured: What was found, in words.
        next: How to mend it; empty where there is nothing to.
        needed: Whether nothing is promoted while it is open: a search was to be had.
    """

    met: Met
    measured: str
    next: str = ""
    needed: bool = False


NOBODY_LOOKED = LeakCheck("open", "nobody looked")


@dataclass(frozen=True)
class Standing:
    """How an experiment stands apart from its figures.

    Attributes:
        experiment: Its id.
        barred: Why no promotion is asked of it; empty for a candidate.
        state: How far its run is.
        stale: What has changed since it was made.
        refused: Why it cannot be compared with the baseline; empty where it can.
        unseen: Of what it was made from, what cannot be looked at now.
    """

    experiment: str
    barred: str = ""
    state: str = COMPLETE
    stale: tuple[str, ...] = ()
    refused: str = ""
    unseen: tuple[str, ...] = ()

    @property
    def fault(self) -> str:
        """Return why its figures are not those of a whole run of now; empty where they are."""
        if self.state != COMPLETE:
            return f"{self.experiment} is {self.state}"
        if self.stale:
            return f"{self.experiment} is stale: {', '.join(self.stale)} changed since"
        return ""


@dataclass(frozen=True)
class Context:
    """What a verdict rests on beside figures and comparisons.

    Attributes:
        baseline: What the others are compared with.
        standings: Of all experiments, in their order; the baseline's among them.
        better: Which way the rule's metric is better.
        unit: Of the rule's metric.
        leaks: What the search for leaked test questions says.
        broken: Metrics that did not stand a control, with what it says, by experiment and metric.
        run: The command that brings runs up to date.
    """

    baseline: str
    standings: tuple[Standing, ...]
    better: Literal["higher", "lower"] = "higher"
    unit: str = "share"
    leaks: LeakCheck = NOBODY_LOOKED
    broken: Mapping[tuple[str, str], str] = field(default_factory=dict)
    run: str = "loragraft experiment run CONFIG"

    def standing(self, experiment: str) -> Standing:
        """Return how an experiment stands."""
        return next(one for one in self.standings if one.experiment == experiment)


def barred(config: SeriesConfig, name: str) -> str:
    """Return why no promotion is asked of an experiment; empty for a candidate.

    A promotion replaces the baseline, so a candidate does the same work: it answers records of the
    same kind, and finds passages where the baseline does or where the rule asks for grounding.
    """
    rule, baseline = config.promotion, config.resolve(config.baseline)
    if rule is None:
        return "the series has no promotion rule"
    if name == baseline:
        return "it is the baseline"
    assert baseline is not None
    mine, theirs = config.experiments[name], config.experiments[baseline]
    if mine.task != theirs.task:
        return f"it answers records of the kind {mine.task}, the baseline {theirs.task}"
    if not mine.retrieval and (theirs.retrieval or rule.grounding is not None):
        return "it has no retrieval"
    return ""


def candidates(config: SeriesConfig) -> tuple[str, ...]:
    """Return the experiments that a promotion is asked of: their comparisons gate."""
    return tuple(name for name in config.experiments if not barred(config, name))


def standings(
    config: SeriesConfig, lines: Iterable[Line], refused: Mapping[str, str]
) -> tuple[Standing, ...]:
    """Return how all experiments stand.

    Args:
        config: The series.
        lines: What a table tells of them.
        refused: Those that cannot be compared with the baseline, and why.
    """
    return tuple(
        Standing(line.name, barred(config, line.name), line.state, tuple(line.stale),
                 refused.get(line.name, ""), tuple(line.unseen))
        for line in lines
    )  # fmt: skip


def broken(controls: Iterable[Control]) -> dict[tuple[str, str], str]:
    """Return the metrics that cannot be rested on, with what their control says.

    A control that could not be made speaks against nothing; one that was made must be passed.
    """
    return {
        (one.experiment, one.metric): one.sentence
        for one in controls
        if one.name == SHUFFLED and one.value is not None and not one.passed
    }


def faults(context: Context, experiment: str) -> Sequence[str]:
    """Return why the figures of an experiment or the baseline are not those of whole runs."""
    pair = (context.standing(experiment), context.standing(context.baseline))
    return [one.fault for one in pair if one.fault]


def unseen(context: Context, experiment: str) -> str:
    """Return what of an experiment or the baseline cannot be looked at now, in words."""
    pair = (context.standing(experiment), context.standing(context.baseline))
    return "; ".join(f"of {one.experiment} {listed(one.unseen)}" for one in pair if one.unseen)
