"""What the verdicts on two experiments come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from loragraft.experiment.judge.pairwise import ORDERS, Judged, Outcome

POINTS: Mapping[Outcome, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}
"""Of the first experiment for one pair."""


@dataclass(frozen=True)
class PairSummary:
    """Two experiments, judged.

    Attributes:
        a: The first experiment.
        b: The second.
        pairs: All there are.
        wins: Pairs that the first wins.
        losses: Pairs that the second wins.
        ties: Neither; those below among them.
        identical: Ties because both answers have the same words: nobody was asked.
        disagreements: Ties because the two orders said different things.
        flips: Disagreements in which each order named another winner.
        missing: Pairs without an outcome, by the reason.
        win_rate: Points of the first for a question (1, 0.5, 0), the mean over questions; None
            where nothing was judged.
        first_rate: Share of the verdicts with a winner that name the answer that stands first:
            0.5 for a judge who does not care; None without any.
        attempts: Outputs that were asked for.
        prompt_tokens: Read by the judge.
        tokens: Written.
        cost: US dollars; None where nobody knows.
    """

    a: str
    b: str
    pairs: int
    wins: int
    losses: int
    ties: int
    identical: int
    disagreements: int
    flips: int
    missing: Mapping[str, int]
    win_rate: float | None
    first_rate: float | None
    attempts: int
    prompt_tokens: int
    tokens: int
    cost: float | None

    @property
    def judged(self) -> int:
        """Pairs with an outcome."""
        return self.wins + self.losses + self.ties

    @property
    def disagreement_rate(self) -> float | None:
        """Share of the pairs with two verdicts on which the orders disagree; None without any."""
        asked = self.judged - self.identical
        return self.disagreements / asked if asked else None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **values,
            "missing": dict(self.missing),
            "judged": self.judged,
            "disagreement_rate": self.disagreement_rate,
        }


def summarise(a: str, b: str, judged: Sequence[Judged]) -> PairSummary:
    """Count the verdicts on two experiments.

    Args:
        a: The first experiment's name.
        b: The second's.
        judged: What became of the pairs.
    """
    outcomes = Counter(one.outcome for one in judged)
    split = [one for one in judged if one.agreed is False]
    asked = [verdict for one in judged for verdict in one.verdicts.values()]
    costs = [one.cost for one in asked if one.cost is not None]
    return PairSummary(
        a, b, len(judged),
        wins=outcomes["a"], losses=outcomes["b"], ties=outcomes["tie"],
        identical=sum(one.pair.identical for one in judged),
        disagreements=len(split),
        flips=sum("tie" not in (one.winner("ab"), one.winner("ba")) for one in split),
        missing=dict(sorted(Counter(one.missing for one in judged if one.missing).items())),
        win_rate=win_rate(judged), first_rate=_first_rate(judged),
        attempts=sum(one.attempts for one in asked),
        prompt_tokens=sum(one.prompt_tokens for one in asked),
        tokens=sum(one.tokens for one in asked),
        cost=sum(costs) if costs else None,
    )  # fmt: skip


def win_rate(judged: Iterable[Judged]) -> float | None:
    """Return the first experiment's points, averaged within each question, then over questions."""
    points: dict[str, list[float]] = {}
    for one in judged:
        if one.outcome is not None:
            points.setdefault(one.pair.question_id, []).append(POINTS[one.outcome])
    return fmean(map(fmean, points.values())) if points else None


def _first_rate(judged: Iterable[Judged]) -> float | None:
    """Return how often a verdict with a winner names the first place."""
    words = Counter(one.verdicts[order].word for one in judged for order in ORDERS
                    if order in one.verdicts)  # fmt: skip
    decided = words["A"] + words["B"]
    return words["A"] / decided if decided else None
