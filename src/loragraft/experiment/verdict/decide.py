"""The promotion rule: promoted, rejected, or not decided by so many questions.

A gain that was observed is not one that was shown. Promoted is what was observed to gain enough,
surely gains something, and surely rests on its passages; rejected is what surely does not gain
enough, or surely does not rest on them. In between nothing is decided, and the verdict says how
many questions would. See docs/verdict.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loragraft.experiment.analysis.model import Comparison, Decision, Figure, Verdict
from loragraft.experiment.analysis.numbers import spelled
from loragraft.experiment.verdict.candidates import Context, Standing
from loragraft.experiment.verdict.conditions import (
    ANSWERS,
    COMPARABLE,
    GROUNDING,
    LEAKS,
    RUNS,
    Asked,
    Gain,
    answers,
    gain,
    grounding,
    leaks,
    protocol,
    real,
    runs,
    unmeasured,
)
from loragraft.experiment.verdict.config import PromotionConfig
from loragraft.experiment.verdict.wording import SHARE, change, listed, span


def decide(
    rule: PromotionConfig,
    comparisons: Sequence[Comparison],
    figures: Sequence[Figure],
    context: Context,
) -> tuple[Verdict, ...]:
    """Decide on every experiment of a series.

    Args:
        rule: The series' own.
        comparisons: With the baseline; those of the family ``gating`` on the rule's metric count.
        figures: Of all experiments; their grounding counts.
        context: How the experiments stand, and what else was found.

    Returns:
        A verdict for each experiment, in their order.
    """
    gating = {one.experiment: one for one in comparisons
              if one.family == "gating" and one.metric == rule.metric}  # fmt: skip
    grounded = {one.experiment: one for one in figures if one.metric == GROUNDING}
    sign = -1 if context.better == "lower" else 1
    found = []
    for standing in context.standings:
        name = standing.experiment
        one = gating.get(name)
        seen = None if one is None else Gain(one, context.unit, sign, len(gating))
        found.append(_Case(rule, context, standing, seen, grounded.get(name)).verdict())
    return tuple(found)


@dataclass(frozen=True)
class _Case:
    """All that is known of one experiment."""

    rule: PromotionConfig
    context: Context
    standing: Standing
    gain: Gain | None
    figure: Figure | None

    def verdict(self) -> Verdict:
        if self.standing.barred:
            name = self.standing.experiment
            return self._told("not a candidate", f"{name} is not a candidate: "
                              f"{self.standing.barred}.", ())  # fmt: skip
        asked = tuple(self._asked())
        decision = _decision(asked)
        questions = _questions(asked) if decision == "undecided" else None
        return self._told(decision, self._sentence(decision, asked, questions), asked, questions)

    def _asked(self) -> Iterator[Asked]:
        rule, context = self.rule, self.context
        yield from runs(self.standing, context)
        if self.gain is None:
            yield unmeasured(rule, context)
        else:
            yield answers(self.gain.comparison, context)
            yield gain(rule, self.gain, context)
            yield real(self.gain)
        if rule.grounding is not None:
            broken = context.broken.get((self.standing.experiment, GROUNDING), "")
            yield grounding(rule.grounding, self.figure, broken, context)
        if rule.protocol is not None and self.gain is not None:
            yield from protocol(rule.protocol, self.gain)
        if rule.leaks:
            yield leaks(context)

    def _told(
        self, decision: Decision, sentence: str, asked: Sequence[Asked], number: int | None = None
    ) -> Verdict:
        seen, figure = self.gain, self.figure
        return Verdict(
            self.standing.experiment,
            decision,
            sentence,
            tuple(one.condition for one in asked),
            gain=None if seen is None else seen.observed,
            shown=None if seen is None else seen.low,
            grounding=None if figure is None else figure.value,
            grounding_shown=None if figure is None else figure.lower,
            questions=number,
        )

    def _sentence(self, decision: Decision, asked: Sequence[Asked], questions: int | None) -> str:
        name = self.standing.experiment
        first = {
            "promote": f"{name} is to be promoted",
            "reject": f"{name} is rejected by {_failed(asked)}",
            "blocked": f"{name} is blocked: {self.context.leaks.measured}",
        }.get(decision, f"{name} is undecided")
        parts = [first, self._why(decision, asked, questions), self._seen()]
        sentence = "; ".join(part for part in parts if part) + "."
        return sentence + self._aloud()

    def _seen(self) -> str:
        """Return what was observed, in words."""
        if self.gain is None:
            return ""
        seen, rule = self.gain, self.rule
        told = (f"{rule.metric} {change(seen.observed, seen.unit)} over {self.context.baseline} "
                f"({seen.comparison.interval.level:.0%} interval "
                f"{span(seen.low, seen.high, seen.unit)})")  # fmt: skip
        if rule.grounding is not None and self.figure is not None and self.figure.value is not None:
            lower = self.figure.lower
            told += f", grounding {spelled(self.figure.value, SHARE)}"
            told += "" if lower is None else f" (at least {spelled(lower, SHARE)})"
        return told

    def _why(self, decision: Decision, asked: Sequence[Asked], questions: int | None) -> str:
        """Return what decided, or what keeps it open."""
        if decision != "undecided":
            return ""
        lacking = [one for one in asked if _open(one) and one.heads is None]
        unready = [one for one in lacking if one.condition.name in (RUNS, COMPARABLE)]
        if lacking:
            # What was not run, or not with the same questions, has no figures either.
            lacking = unready or lacking
            return "; ".join(one.condition.measured for one in lacking)
        said = "open: " + listed([one.condition.name for one in asked if _open(one)])
        if questions is None:
            return said + ", and no number of questions can be named"
        return said + f", and about {questions:,} questions would decide"

    def _aloud(self) -> str:
        """Return what must be said whatever was decided."""
        if not self.rule.leaks:
            return " Leaks were not asked about (promotion.leaks)."
        if self.context.leaks.met == "open" and not self.context.leaks.needed:
            said = self.context.leaks.measured.rstrip(".")
            return f" Whether test questions leaked is not known: {said}."
        return ""


def _failed(asked: Sequence[Asked]) -> str:
    return listed([one.condition.name for one in asked if one.met == "no"])


def _open(asked: Asked) -> bool:
    return asked.met == "open" and asked.blocks


def _decision(asked: Sequence[Asked]) -> Decision:
    """Decide; a leak comes first, then whether the figures are to be trusted at all."""
    met = {one.condition.name: one.met for one in asked}
    if met.get(LEAKS) == "no":
        return "blocked"
    if any(met.get(name) == "open" for name in (RUNS, COMPARABLE, ANSWERS)):
        return "undecided"
    if "no" in met.values():
        return "reject"
    return "undecided" if any(map(_open, asked)) else "promote"


def _questions(asked: Sequence[Asked]) -> int | None:
    """Return how many questions would decide, if the world is as it was observed.

    Where a condition heads for a no, the first such no decides: the smallest number. Where all head
    for a yes, all of them must be shown: the largest.
    """
    open_ = [one for one in asked if _open(one)]
    if any(one.heads is None for one in open_):
        return None
    failing = [one.questions for one in open_ if one.heads is False]
    named = [number for number in failing if number is not None]
    if failing:
        return min(named, default=None)
    numbers = [one.questions for one in open_ if one.questions is not None]
    return max(numbers) if numbers and len(numbers) == len(open_) else None
