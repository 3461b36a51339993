"""What an analysis holds. Its JSON is what the page, Markdown and other programs read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from loragraft.experiment.statistics.results import Interval, TestResult

Decision = Literal["promote", "reject", "undecided", "not a candidate", "blocked"]
"""``not a candidate``: the baseline, or without retrieval; ``blocked``: test questions leaked."""
Met = Literal["yes", "no", "open"]
"""Of a condition: shown, excluded, or neither with so many questions."""
Family = Literal["gating", "exploratory"]


@dataclass(frozen=True)
class Figure:
    """One metric of one experiment.

    Attributes:
        experiment: Its id.
        metric: Its name.
        value: Mean over questions; None with a reason.
        interval: Of the mean, two-sided; None where there is none to be had.
        lower: One-sided 95 % lower bound.
        upper: One-sided 95 % upper bound.
        count: Questions that have it.
        of: Questions asked.
        papers: Papers among them.
        missing: Samples without it, by status.
        reason: Why there is no value.
    """

    experiment: str
    metric: str
    value: float | None
    interval: Interval | None
    lower: float | None
    upper: float | None
    count: int
    of: int
    papers: int
    missing: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Protocol:
    """The protocol's own lines: they take the runs for independent samples, which they are not.

    Attributes:
        mann_whitney: Two-sided.
        cohens_d: Of two samples, with the pooled deviation; None without spread.
        relative: Difference over the other's mean; None where that is 0.
    """

    mann_whitney: TestResult
    cohens_d: float | None
    relative: float | None


@dataclass(frozen=True)
class Comparison:
    """One metric of an experiment beside another's, over the questions that both have.

    Attributes:
        metric: Its name.
        experiment: The one.
        baseline: The other.
        value: The one's mean over those questions.
        baseline_value: The other's.
        difference: Observed.
        interval: Of the difference, two-sided.
        count: Questions that both have.
        papers: Papers among them.
        excluded: Questions that one of them lacks.
        test: What decides: papers' signs flipped where papers have several questions, else exact
            McNemar for right and wrong, signs flipped for graded values.
        others: Printed beside it.
        adjusted: p of ``test``, corrected within the family: Holm where it gates, else
            Benjamini-Hochberg.
        family: Whether a promotion rests on it.
        d_z: Mean difference over its deviation; None without spread.
        better: Questions that the experiment does better.
        worse: That it does worse.
        smallest: The smallest difference that this comparison had 80 % power to see; None without
            spread.
        protocol: The protocol's own lines.
    """

    metric: str
    experiment: str
    baseline: str
    value: float
    baseline_value: float
    difference: float
    interval: Interval
    count: int
    papers: int
    excluded: int
    test: TestResult
    others: tuple[TestResult, ...]
    adjusted: float
    family: Family
    d_z: float | None
    better: int
    worse: int
    smallest: float | None
    protocol: Protocol


@dataclass(frozen=True)
class Condition:
    """What a promotion asks for.

    Attributes:
        name: ``gain``, ``gain is real``, ``grounding``, ``no leaks`` ...
        met: Whether.
        measured: What was found, in words with figures.
        wanted: What was asked for, in words.
        next: What would decide it, or how to mend it; empty where it is met.
    """

    name: str
    met: Met
    measured: str
    wanted: str
    next: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is decided on an experiment.

    Attributes:
        experiment: Its id.
        decision: Of the rule.
        sentence: All of it in one sentence.
        conditions: What it rests on.
        gain: Observed, in shares of questions; None where it was not compared.
        shown: The lower end of the gain's interval: what is sure.
        grounding: Observed; None without.
        grounding_shown: Its one-sided lower bound.
        questions: How many questions would decide, where it is undecided; None where no number can
            be named.
    """

    experiment: str
    decision: Decision
    sentence: str
    conditions: tuple[Condition, ...]
    gain: float | None = None
    shown: float | None = None
    grounding: float | None = None
    grounding_shown: float | None = None
    questions: int | None = None


@dataclass(frozen=True)
class Effect:
    """A part of the 2x2 of tuning and retrieval, or a step of an export.

    Attributes:
        name: ``tuning``, ``retrieval``, ``interaction``; an experiment, for an export's step.
        metric: Of what.
        value: Mean over questions.
        interval: Of it, two-sided.
        p: Two-sided, papers' signs flipped.
        count: Questions that all arms have.
        sentence: In words.
        equivalent: Within the bounds, by two one-sided tests: only for an export's steps.
        bound: Those bounds.
    """

    name: str
    metric: str
    value: float
    interval: Interval
    p: float
    count: int
    sentence: str
    equivalent: bool | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Slice:
    """One metric of all experiments over some of the questions.

    Attributes:
        by: ``task type``, ``paper`` or ``paper in training``.
        name: Of the slice.
        metric: Of what.
        questions: How many it has.
        values: Mean and count by experiment; an experiment without any is left out.
    """

    by: str
    name: str
    metric: str
    questions: int
    values: Mapping[str, tuple[float, int]]


@dataclass(frozen=True)
class Control:
    """Whether a metric measures what it says, or what a lazy model would get.

    Attributes:
        name: ``shuffled passages``, ``always yes``, ``constant answer``.
        experiment: Of which; empty where it is of the questions alone.
        metric: That is looked at.
        value: Of the control; None with a reason.
        real: What the experiment itself has; None where it is of the questions alone.
        count: Answers that it rests on.
        passed: Whether the metric stands the control; None: see ``standing_of``.
        sentence: In words.
    """

    name: str
    experiment: str
    metric: str
    value: float | None
    real: float | None
    count: int
    passed: bool | None
    sentence: str


@dataclass(frozen=True)
class Distribution:
    """Values of one metric of one experiment.

    Attributes:
        experiment: Its id.
        metric: Its name.
        unit: Of the values.
        edges: Of the bins, shape [bins + 1].
        counts: In the bins.
        mean: Of all values.
        deviation: Of them.
        low: The smallest.
        high: The largest.
        distinct: How many different ones.
        log: Whether the bins are even in the logarithm.
    """

    experiment: str
    metric: str
    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    deviation: float
    low: float
    high: float
    distinct: int
    log: bool = False


@dataclass(frozen=True)
class Analysis:
    """What a series means.

    Attributes:
        title: For people.
        series: Its name; empty for runs that were compared by hand.
        size: Of its models.
        baseline: What the others are compared with.
        created: When, UTC.
        version: Of loragraft.
        rule: Of promotion, as JSON values; empty where none applies.
        verdicts: In the order of the experiments.
        experiments: As the table tells of them (``Line``), with ``provenance`` beside, by id.
        metrics: What each metric is (``MetricInfo``), by name.
        figures: Of all experiments.
        comparisons: With the baseline.
        refused: Experiments that are not compared, and why.
        factorial: Of the 2x2, where it has four arms.
        fidelity: Of an export, where it was asked for.
        slices: By task type, by paper, by papers seen in training.
        controls: Of the metrics.
        distributions: For the plots.
        judged: Pairs that a judge has compared, with its reliability (``PairSummary.to_json``).
        human: What raters say, where they were asked.
        leaks: What the split gives away (``LeakReport.to_json`` without texts); None where nobody
            looked.
        questions: Where they come from, by kind.
        warnings: What a reader must know before any figure: stale runs, missing answers.
    """

    title: str
    series: str
    size: str
    baseline: str
    created: str
    version: str
    rule: Mapping[str, Any]
    verdicts: tuple[Verdict, ...]
    experiments: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, Mapping[str, Any]]
    figures: tuple[Figure, ...]
    comparisons: tuple[Comparison, ...]
    refused: Mapping[str, str]
    factorial: tuple[Effect, ...] = ()
    fidelity: tuple[Effect, ...] = ()
    slices: tuple[Slice, ...] = ()
    controls: tuple[Control, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    judged: tuple[Mapping[str, Any], ...] = ()
    human: Mapping[str, Any] | None = None
    leaks: Mapping[str, Any] | None = None
    questions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        from loragraft.artifact.metadata import plain

        values = plain(self)
        assert isinstance(values, dict)
        return values


@dataclass(frozen=True)
class ShownPassage:
    """A passage, once for all samples that show it.

    Attributes:
        chunk_id: In the index.
        doc_id: Its document.
        title: Of the document.
        text: As it was shown.
    """

    chunk_id: str
    doc_id: str
    title: str
    text: str


@dataclass(frozen=True)
class ShownAnswer:
    """An experiment's answer to a question.

    Attributes:
        status: Of the sample.
        text: The answer; the error where there is none.
        repeat: From 0.
        citations: ``[start, stop, label]`` in ``text``, in characters (code points).
        passages: Number of the passage by label, in :attr:`Browsable.passages`.
        scores: By metric: value or status, of the main metrics.
        tags: ``win``, ``loss``, ``tie``, ``ungrounded``, ``fabricated citation``, ``missing``.
    """

    status: str
    text: str
    repeat: int
    citations: tuple[tuple[int, int, str], ...]
    passages: Mapping[str, int]
    scores: Mapping[str, float | str]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class ShownQuestion:
    """A question with every experiment's answers.

    Attributes:
        id: The record's.
        question: What was asked.
        expected: Accepted answers, label or reference, in words.
        task_type: The record's.
        paper: Its cluster; empty for none.
        seen: Whether its paper is in training; None where nobody knows.
        answers: By experiment; one without any is left out.
    """

    id: str
    question: str
    expected: tuple[str, ...]
    task_type: str
    paper: str
    seen: bool | None
    answers: Mapping[str, tuple[ShownAnswer, ...]]


@dataclass(frozen=True)
class Browsable:
    """All samples of a series, to be looked through.

    Attributes:
        passages: Each once.
        questions: In the order of their ids.
    """

    passages: tuple[ShownPassage, ...]
    questions: tuple[ShownQuestion, ...]
