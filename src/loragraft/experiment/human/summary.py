"""What raters said together, and how far they agree with each other and with the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from loragraft.experiment.human.agreement import (
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    observed,
)
from loragraft.experiment.human.blind import BlindKey
from loragraft.experiment.human.ratings import Ratings
from loragraft.experiment.human.sheet import quoted
from loragraft.experiment.judge.pairwise import Judged, Outcome
from loragraft.experiment.judge.summary import POINTS


@dataclass(frozen=True)
class Tally:
    """Votes counted.

    Attributes:
        name: The rater's; ``majority`` for all together.
        rated: Rows with a vote.
        wins: Of the first experiment.
        losses: Of the first experiment.
        ties: Neither.
        win_rate: Points of the first (1, 0.5, 0), the mean; None without votes.
        first_rate: Share of the votes with a winner that name the answer that stood first; None
            without any, and for the majority.
    """

    name: str
    rated: int
    wins: int
    losses: int
    ties: int
    win_rate: float | None
    first_rate: float | None


@dataclass(frozen=True)
class Agreement:
    """How far two agree.

    Attributes:
        a: A rater, or ``majority``.
        b: A rater, or ``judge``.
        rows: That both have a say on.
        agreement: The share of them on which they say the same.
        kappa: Cohen's; None where it is not defined.
    """

    a: str
    b: str
    rows: int
    agreement: float | None
    kappa: float | None


@dataclass(frozen=True)
class HumanSummary:
    """What people said of an export.

    Attributes:
        export: Its name.
        a: The first experiment.
        b: The second.
        rows: Pairs that were written for raters.
        raters: Each one's votes.
        majority: Of the rows with votes; where no side has more than any other, a tie.
        pairs: How far each two raters agree.
        fleiss_kappa: Of the rows that all who voted rated, with two raters or more; None where it
            is not defined.
        fleiss_rows: How many these are.
        alpha: Krippendorff's, of all rows with two votes or more.
        judge: How far the majority agrees with the judge; None without verdicts.
    """

    export: str
    a: str
    b: str
    rows: int
    raters: tuple[Tally, ...]
    majority: Tally
    pairs: tuple[Agreement, ...]
    fleiss_kappa: float | None
    fleiss_rows: int
    alpha: float | None
    judge: Agreement | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def summarise_ratings(
    key: BlindKey, ratings: Sequence[Ratings], judged: Iterable[Judged] = ()
) -> HumanSummary:
    """Count what raters said.

    Args:
        key: Of the export.
        ratings: Of each rater; one without any vote agrees with nobody.
        judged: What a judge said of pairs of the same two experiments; pairs whose answers have
            changed since the export are left out.
    """
    voters = [one for one in ratings if one.votes]
    by_row = {row.id: [one.votes[row.id] for one in ratings if row.id in one.votes]
              for row in key.rows}  # fmt: skip
    voted = {name: majority_of(votes) for name, votes in by_row.items() if votes}
    everybody = [votes for votes in by_row.values() if len(votes) == len(voters) > 1]
    return HumanSummary(
        key.export, key.a, key.b, len(key.rows),
        raters=tuple(tally(one.rater, one.votes, one.firsts) for one in ratings),
        majority=tally("majority", voted),
        pairs=tuple(_agreement(one.rater, other.rater, one.votes, other.votes)
                    for one, other in combinations(voters, 2)),
        fleiss_kappa=fleiss_kappa(everybody), fleiss_rows=len(everybody),
        alpha=krippendorff_alpha(list(by_row.values())),
        judge=_with_judge(key, voted, judged),
    )  # fmt: skip


def majority_of(votes: Sequence[Outcome]) -> Outcome:
    """Return what most say; a tie where two sides are said equally often."""
    ranked = Counter(votes).most_common(2)
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        return "tie"
    return ranked[0][0]


def tally(name: str, votes: Mapping[str, Outcome], firsts: int | None = None) -> Tally:
    """Count votes.

    Args:
        name: Whose.
        votes: By row.
        firsts: How many of them name the answer that stood first.
    """
    counts = Counter(votes.values())
    decided = counts["a"] + counts["b"]
    rate = fmean(POINTS[vote] for vote in votes.values()) if votes else None
    first_rate = firsts / decided if decided and firsts is not None else None
    return Tally(name, len(votes), counts["a"], counts["b"], counts["tie"], rate, first_rate)


def _agreement(
    a: str, b: str, one: Mapping[str, Outcome], other: Mapping[str, Outcome]
) -> Agreement:
    shared = [name for name in one if name in other]
    left, right = [one[name] for name in shared], [other[name] for name in shared]
    return Agreement(a, b, len(shared), observed(left, right), cohen_kappa(left, right))


def _with_judge(
    key: BlindKey, voted: Mapping[str, Outcome], judged: Iterable[Judged]
) -> Agreement | None:
    said = {
        (one.pair.question_id, one.pair.repeat): one for one in judged if one.outcome is not None
    }
    outcomes: dict[str, Outcome] = {}
    for row in key.rows:
        one = said.get((row.question_id, row.repeat))
        shown = (row.answer_1, row.answer_2) if row.first == "a" else (row.answer_2, row.answer_1)
        if one is not None and one.outcome and (quoted(one.pair.a), quoted(one.pair.b)) == shown:
            outcomes[row.id] = one.outcome
    return _agreement("majority", "judge", voted, outcomes) if outcomes else None
