"""Every metric of every experiment in one table, with the count beside each figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from loragraft.experiment.records import NOT_APPLICABLE, Score
from loragraft.experiment.spread import Spread, spread_of

if TYPE_CHECKING:
    from loragraft.experiment.metrics.protocol import MetricInfo

NOT_RUN = "not run"
NO_ANSWERS = "no answers yet"


@dataclass(frozen=True)
class Cell:
    """One metric of one experiment.

    Attributes:
        value: Mean over questions; None where there is none.
        count: Questions that have it.
        of: Questions that it was looked for in.
        reason: Why there is no value: :data:`NOT_APPLICABLE`, :data:`NOT_RUN` or other words.
        missing: Samples without it, by status.
        spread: Where questions have several answers: how they vary.
        detail: What an aggregate rests on.
    """

    value: float | None
    count: int = 0
    of: int = 0
    reason: str = ""
    missing: Mapping[str, int] = field(default_factory=dict)
    spread: Spread | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """One metric of all experiments.

    Attributes:
        info: The metric.
        cells: By experiment.
    """

    info: MetricInfo
    cells: Mapping[str, Cell | None]


@dataclass(frozen=True)
class Pair:
    """One metric of an experiment beside the baseline's, over the questions that both have.

    Attributes:
        metric: Its name.
        experiment: The one.
        baseline: The other.
        value: The experiment's mean over those questions.
        baseline_value: The baseline's.
        count: How many questions both have.
        excluded: Questions that one of them lacks.
    """

    metric: str
    experiment: str
    baseline: str
    value: float
    baseline_value: float
    count: int
    excluded: int

    @property
    def difference(self) -> float:
        """Return by how much the experiment is above the baseline."""
        return self.value - self.baseline_value

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "difference": self.difference}


@dataclass(frozen=True)
class Line:
    """An experiment, as a table tells of it.

    Attributes:
        name: Its id.
        aliases: Its other names.
        state: How far it is.
        engine: The model.
        total: Samples that it shall have.
        counts: Those that are there, by status.
        stale: What has changed since.
        message: Why it is not complete.
        notes: What a person should know.
        unseen: What it was made from and cannot be looked at now.
    """

    name: str
    aliases: tuple[str, ...]
    state: str
    engine: str = ""
    total: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    message: str = ""
    notes: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """All figures of a series.

    Attributes:
        series: Its name.
        size: Of its models.
        baseline: What the others are compared with.
        questions: Where they come from, by kind of records.
        lines: Its experiments, in order.
        rows: Its metrics, in order.
        pairs: Experiments beside the baseline.
        refused: Experiments that cannot be compared with the baseline, and why.
        judged: Pairs that a judge has compared.
    """

    series: str
    size: str
    baseline: str
    questions: Mapping[str, Mapping[str, Any]]
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    refused: Mapping[str, str]
    judged: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "series": self.series,
            "size": self.size,
            "baseline": self.baseline,
            "questions": self.questions,
            "experiments": [asdict(line) for line in self.lines],
            "metrics": [
                {
                    **asdict(row.info),
                    "of": {n: cell and cell.to_json() for n, cell in row.cells.items()},
                }
                for row in self.rows
            ],
            "against_baseline": [pair.to_json() for pair in self.pairs],
            "not_compared": self.refused,
            "judged": [dict(pair) for pair in self.judged],
        }


def cell_of(scores: Sequence[Score]) -> Cell:
    """Return the mean of a metric over questions, each with the mean of its answers.

    Only scores with the status ``ok`` count; the others are counted beside it.
    """
    values: dict[str, list[float]] = {}
    for score in scores:
        if score.value is not None:
            values.setdefault(score.question_id, []).append(score.value)
    of = len({score.question_id for score in scores})
    missing: Counter[str] = Counter(score.status for score in scores if score.value is None)
    if not values:
        return Cell(None, 0, of, "no answer has it", dict(missing))
    mean = sum(means(values).values()) / len(values)
    return Cell(mean, len(values), of, "", dict(missing), spread_of(list(values.values())))


def means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the mean of each question's values."""
    return {name: sum(found) / len(found) for name, found in values.items()}


def by_question(scores: Iterable[Score]) -> dict[str, float]:
    """Return the mean of each question's scores that are ``ok``."""
    values: dict[str, list[float]] = {}
    for score in scores:
        if score.value is not None:
            values.setdefault(score.question_id, []).append(score.value)
    return means(values)


def pair_of(
    metric: str,
    names: tuple[str, str],
    mine: Sequence[Score],
    theirs: Sequence[Score],
) -> Pair | None:
    """Compare two experiments over the questions that both have; None where there is none.

    Args:
        metric: Its name.
        names: The experiment and the baseline.
        mine: The experiment's scores.
        theirs: The baseline's.
    """
    a, b = by_question(mine), by_question(theirs)
    both = sorted(a.keys() & b.keys())
    if not both:
        return None
    asked = {score.question_id for score in (*mine, *theirs)}
    return Pair(
        metric,
        *names,
        sum(a[name] for name in both) / len(both),
        sum(b[name] for name in both) / len(both),
        len(both),
        len(asked) - len(both),
    )


def shown(cell: Cell | None) -> str:
    """Spell a cell for people: its value with the count beside it, or why there is none."""
    if cell is None:
        return NOT_RUN
    if cell.value is None:
        return cell.reason or NOT_APPLICABLE
    count = f"{cell.count}" if cell.count == cell.of else f"{cell.count} of {cell.of}"
    return f"{number(cell.value)} (n={count})"


def number(value: float) -> str:
    """Spell a figure: four digits that count, none more than the metric has."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.2e}"
