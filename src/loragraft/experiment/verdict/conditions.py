"""What a promotion asks for, one function a condition: shown, excluded, or neither so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loragraft.experiment.analysis.model import Comparison, Condition, Figure, Met
from loragraft.experiment.analysis.numbers import spelled
from loragraft.experiment.verdict.candidates import Context, Standing, faults, unseen
from loragraft.experiment.verdict.config import PromotionConfig, ProtocolGate
from loragraft.experiment.verdict.needed import (
    Reach,
    for_mann_whitney,
    least_for_signs,
    questions_needed,
)
from loragraft.experiment.verdict.wording import SHARE, chance, change, rest_on, span

ALPHA = 0.05
"""Of the deciding test, after Holm; intervals are of 95 %."""
ONE_SIDED = 0.05
"""Chance beyond the bound on grounding."""
GROUNDING = "grounding_coverage"
MOST_EXCLUDED = 0.1
"""Share of questions without a value on one side, above which those that are left are not those
that were asked: a tenth may move a mean by ten points, twice the gain that is usually wanted."""

RUNS, COMPARABLE, ANSWERS = "runs are whole", "comparable", "enough answers"
GAIN, REAL, GROUNDED, LEAKS = "gain", "gain is real", "grounding", "no leaks"


@dataclass(frozen=True)
class Asked:
    """A condition, and where it is heading.

    Attributes:
        condition: As it is told.
        heads: Whether it would be met with ever more questions, if the world is as it was
            observed; None where questions are not what it lacks.
        questions: With how many it would be decided; None where none can be named.
        blocks: Whether nothing is promoted while it is open.
    """

    condition: Condition
    heads: bool | None = None
    questions: int | None = None
    blocks: bool = True

    @property
    def met(self) -> Met:
        """Whether it is met."""
        return self.condition.met


@dataclass(frozen=True)
class Gain:
    """A comparison seen so that up is better.

    Attributes:
        comparison: The comparison.
        unit: Of the metric.
        sign: 1, or -1 where lower is better.
        family: Gating comparisons of the series.
    """

    comparison: Comparison
    unit: str
    sign: int
    family: int

    @property
    def observed(self) -> float:
        """Return the difference, positive where the experiment is better."""
        return self.sign * self.comparison.difference

    @property
    def low(self) -> float:
        """Return the interval's lower end."""
        interval = self.comparison.interval
        return interval.low if self.sign > 0 else -interval.high

    @property
    def high(self) -> float:
        """Return the interval's upper end."""
        interval = self.comparison.interval
        return interval.high if self.sign > 0 else -interval.low

    @property
    def told(self) -> str:
        """Return what was observed, with its interval."""
        comparison = self.comparison
        interval = span(self.low, self.high, self.unit)
        return (f"{change(self.observed, self.unit)} ({comparison.interval.level:.0%} interval "
                f"{interval}, {rest_on(comparison.count, comparison.papers)})")  # fmt: skip

    def needed(self, bound: float, tail: float | None = None) -> int | None:
        """Return how many questions would tell what was observed from a bound."""
        comparison = self.comparison
        below = bound < self.observed
        end = self.observed - self.low if below else self.high - self.observed
        reach = Reach(end, (1 - comparison.interval.level) / 2, comparison.interval.method,
                      comparison.count, comparison.papers)  # fmt: skip
        return questions_needed(reach, abs(self.observed - bound), tail=tail)


def runs(standing: Standing, context: Context) -> Iterator[Asked]:
    """Ask whether figures are those of whole runs of now, over the same questions."""
    wrong, hidden = faults(context, standing.experiment), unseen(context, standing.experiment)
    whole = "complete, and nothing has changed"
    if hidden:
        whole += f" that can be looked at; what cannot be, now: {hidden}"
    yield Asked(Condition(
        RUNS, "open" if wrong else "yes", "; ".join(wrong) or whole,
        "complete runs of what is there now", context.run if wrong else "",
    ))  # fmt: skip
    if standing.refused:
        yield Asked(Condition(
            COMPARABLE, "open", standing.refused, f"the same questions as {context.baseline}",
            f"Ask both the same, of the same index: {context.run}",
        ))  # fmt: skip


def unmeasured(rule: PromotionConfig, context: Context) -> Asked:
    """Tell that there is nothing to compare."""
    return Asked(Condition(
        GAIN, "open", f"no question has {rule.metric} of both",
        wanted_gain(rule, context),
        f"Measure {rule.metric}, or name a metric that single questions have (promotion.metric): "
        f"{context.run}",
    ))  # fmt: skip


def wanted_gain(rule: PromotionConfig, context: Context) -> str:
    """Return what gain is wanted, in words."""
    return f"{change(rule.gain, context.unit)} of {rule.metric} over {context.baseline}"


def answers(comparison: Comparison, context: Context) -> Asked:
    """Ask whether those questions that both have are nearly those that were asked."""
    asked = comparison.count + comparison.excluded
    share = comparison.excluded / asked
    few = share <= MOST_EXCLUDED
    return Asked(Condition(
        ANSWERS, "yes" if few else "open",
        f"{comparison.excluded:,} of {asked:,} questions lack a value on one side",
        f"at most {MOST_EXCLUDED:.0%}", "" if few else f"{context.run} --retry",
    ))  # fmt: skip


def gain(rule: PromotionConfig, found: Gain, context: Context) -> Asked:
    """Ask whether the gain that is wanted was observed, or is excluded."""
    wanted = wanted_gain(rule, context)
    if found.observed >= rule.gain:
        return Asked(Condition(GAIN, "yes", found.told, wanted), True)
    if found.high < rule.gain:
        return Asked(Condition(GAIN, "no", found.told, wanted), False)
    needed = found.needed(rule.gain)
    return Asked(Condition(GAIN, "open", found.told, wanted, _more(needed)), False, needed)


def real(found: Gain) -> Asked:
    """Ask whether the gain is more than chance: by its interval and, after Holm, by its test."""
    comparison = found.comparison
    adjusted = f", {chance(comparison.adjusted)} after Holm" if found.family > 1 else ""
    measured = (f"from {change(found.low, found.unit)} on; {comparison.test.name}: "
                f"{chance(comparison.test.p)}{adjusted}")  # fmt: skip
    wanted = f"an interval above 0, and p below {ALPHA:g}"
    if found.low > 0 and comparison.adjusted < ALPHA:
        return Asked(Condition(REAL, "yes", measured, wanted), True)
    if found.high < 0:
        return Asked(Condition(REAL, "no", measured, wanted), False)
    needed = _to_be_real(found)
    return Asked(Condition(REAL, "open", measured, wanted, _more(needed)), found.observed > 0,
                 needed)  # fmt: skip


def _to_be_real(found: Gain) -> int | None:
    comparison = found.comparison
    alpha = ALPHA / found.family
    by_interval = found.needed(0.0, tail=alpha / 2)
    by_test = least_for_signs(comparison.count, comparison.test.count, alpha)
    if by_interval is None or by_test is None:
        return None
    return max(by_interval, by_test)


def grounding(wanted: float, figure: Figure | None, broken: str, context: Context) -> Asked:
    """Ask whether answers rest on their passages as much as is wanted, by one-sided bounds."""
    asked = f"at least {spelled(wanted, SHARE)}, with {1 - ONE_SIDED:.0%} certainty"
    if figure is None or figure.value is None or figure.lower is None or figure.upper is None:
        reason = figure.reason if figure is not None and figure.reason else "not measured"
        return Asked(Condition(GROUNDED, "open", reason, asked,
                               f"Measure grounding (metrics.groups): {context.run}"))  # fmt: skip
    told = (f"{spelled(figure.value, SHARE)} (at least {spelled(figure.lower, SHARE)}, at most "
            f"{spelled(figure.upper, SHARE)}; {rest_on(figure.count, figure.papers)})")  # fmt: skip
    if broken:
        return Asked(Condition(GROUNDED, "open", f"{told}, but {broken[0].lower()}{broken[1:]}",
                               asked, "Ask more questions; where the control fails with many, "
                               "choose another support test "
                               "(metrics.grounding.support)."))  # fmt: skip
    if figure.upper < wanted:
        return Asked(Condition(GROUNDED, "no", told, asked), False)
    if figure.of and (figure.of - figure.count) / figure.of > MOST_EXCLUDED:
        missing = f"{told}; {figure.of - figure.count:,} of {figure.of:,} answers lack it"
        return Asked(Condition(GROUNDED, "open", missing, asked, f"{context.run} --retry"))
    if figure.lower >= wanted:
        return Asked(Condition(GROUNDED, "yes", told, asked), True)
    needed = _to_be_grounded(wanted, figure)
    return Asked(Condition(GROUNDED, "open", told, asked, _more(needed)), figure.value >= wanted,
                 needed)  # fmt: skip


def _to_be_grounded(wanted: float, figure: Figure) -> int | None:
    value, lower, upper = figure.value, figure.lower, figure.upper
    if figure.interval is None or value is None or lower is None or upper is None:
        return None
    end = value - lower if value >= wanted else upper - value
    reach = Reach(end, ONE_SIDED, figure.interval.method, figure.count, figure.papers)
    return questions_needed(reach, abs(value - wanted))


def leaks(context: Context) -> Asked:
    """Ask whether the test is one."""
    found = context.leaks
    return Asked(Condition(LEAKS, found.met, found.measured, "no test question was seen",
                           found.next), blocks=found.needed)  # fmt: skip


def protocol(gate: ProtocolGate, found: Gain) -> Iterator[Asked]:
    """Ask for the protocol's own lines, which take the runs for independent samples."""
    lines = found.comparison.protocol
    d = None if lines.cohens_d is None else found.sign * lines.cohens_d
    yield _mann_whitney(gate.p, found, d)
    base = found.sign * found.comparison.baseline_value
    relative = None if lines.relative is None else found.sign * lines.relative
    bound = gate.relative * abs(base)
    yield _above("relative improvement", relative, gate.relative, found, bound, "the baseline's "
                 "mean is 0", percent=True)  # fmt: skip
    pooled = found.observed / d if d else None
    yield _above("Cohen's d", d, gate.d, found, None if pooled is None else gate.d * pooled,
                 "the values have no spread")  # fmt: skip


def _mann_whitney(alpha: float, found: Gain, d: float | None) -> Asked:
    test = found.comparison.protocol.mann_whitney
    better = found.observed > 0
    measured, wanted = chance(test.p), f"p below {alpha:g}, and better"
    if test.p < alpha:
        return Asked(Condition("Mann-Whitney", "yes" if better else "no", measured, wanted), better)
    needed = for_mann_whitney(d, alpha) if better and d is not None else None
    return Asked(Condition("Mann-Whitney", "open", measured, wanted, _more(needed)), better, needed)


def _above(
    name: str,
    value: float | None,
    wanted: float,
    found: Gain,
    bound: float | None,
    without: str,
    *,
    percent: bool = False,
) -> Asked:
    """Ask whether a figure that rises with the gain is above what is wanted, or cannot be.

    Args:
        name: Of the condition.
        value: Observed; None where there is none.
        wanted: It must be above.
        found: The gain.
        bound: The gain at which the figure is what is wanted; None where nobody knows.
        without: Why there is no value.
        percent: Whether it is told as a percentage.
    """
    style = "+.1%" if percent else "+.3f"
    asked = f"above {wanted:.0%}" if percent else f"above {wanted:g}"
    if value is None:
        return Asked(Condition(name, "open", without, asked, "Other questions, or another metric."))
    told = f"{value:{style}}"
    if value > wanted:
        return Asked(Condition(name, "yes", told, asked), True)
    if bound is not None and found.high <= bound:
        return Asked(Condition(name, "no", told, asked), False)
    needed = None if bound is None else found.needed(bound)
    return Asked(Condition(name, "open", told, asked, _more(needed)), False, needed)


def _more(questions: int | None) -> str:
    if questions is None:
        return "No number of questions can be named: what was observed is at the bound, or of one."
    return f"About {questions:,} questions would tell (80 % power, if this is the true effect)."
