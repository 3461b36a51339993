"""Measure how often a verdict is wrong, how often intervals hold the truth, and what power is.

    python scripts/verdict_simulations.py [--runs 500] [--only verdicts|coverage|power|equivalence]

Series with known effects are made up, question by question, and put through the statistics and the
promotion rule that a real series goes through. Prints Markdown, as in docs/statistics.md; the same
runs and the same seed print the same. One process; about ten minutes at 500 runs.
"""

from __future__ import annotations

import argparse
import gc
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from loragraft.experiment.analysis.comparing import adjust, compare_paired
from loragraft.experiment.analysis.model import Comparison, Decision, Figure
from loragraft.experiment.statistics.equivalence import equivalence
from loragraft.experiment.statistics.interval import mean_interval, one_sided
from loragraft.experiment.statistics.power import questions_for
from loragraft.experiment.statistics.sample import Paired, Values
from loragraft.experiment.statistics.significance import mcnemar
from loragraft.experiment.verdict.candidates import Context, LeakCheck, Standing
from loragraft.experiment.verdict.conditions import GROUNDING
from loragraft.experiment.verdict.config import PromotionConfig
from loragraft.experiment.verdict.decide import decide

SEED = 20251101
BASELINE = "baseline"
RULE = PromotionConfig()
ALPHA = 0.05
Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """What is true of a series, and how large it is.

    Attributes:
        papers: How many.
        size: Questions of each; ``uneven`` takes it for their mean.
        correlation: Intra-class, of everything that papers share: with its root as chance, a
            question has its paper's outcome and not one of its own.
        effects: Of each candidate over the baseline.
        accuracy: Of the baseline.
        discordance: Share of questions on which a candidate and the baseline differ.
        missing: Share of answers that are missing, whatever they would have been.
        grounding: Mean coverage of the candidates' answers; None where the rule asks for none, so
            that the gain alone decides.
        uneven: Whether papers have different numbers of questions, from 1 on.
    """

    papers: int
    size: int = 1
    correlation: float = 0.0
    effects: tuple[float, ...] = (0.0,)
    accuracy: float = 0.6
    discordance: float = 0.2
    missing: float = 0.0
    grounding: float | None = None
    uneven: bool = False

    def __str__(self) -> str:
        """Say how many questions there are, and what binds them."""
        told = f"{self.papers * self.size:,} questions"
        if self.size > 1:
            uneven = " 1 to many" if self.uneven else f" {self.size}"
            told = (f"{self.papers} papers of{uneven}" if self.uneven
                    else f"{self.papers} papers of {self.size}")  # fmt: skip
            told += f", ICC {self.correlation:g}"
        return told


@dataclass(frozen=True)
class Drawn:
    """A series that was made up.

    Attributes:
        papers: Of each question.
        right: Of baseline and candidates, shape [experiments, questions]; NaN where missing.
        grounding: Of the candidates, shape [candidates, questions]; none without the condition.
    """

    papers: Labels
    right: Numbers
    grounding: Numbers


def draw(world: World, generator: np.random.Generator) -> Drawn:
    """Make up a series."""
    papers = _papers(world, generator)
    own, shared = (
        _outcomes(world, len(papers), generator),
        _outcomes(world, world.papers, generator),
    )
    copies = generator.random(len(papers)) < math.sqrt(world.correlation)
    right = np.where(copies, shared[:, papers], own)
    gone = generator.random(right.shape) < world.missing
    grounding = np.empty((0, len(papers)))
    if world.grounding is not None:
        own, shared = (generator.binomial(4, world.grounding, (len(world.effects), count)) / 4
                       for count in (len(papers), world.papers))  # fmt: skip
        grounding = np.where(gone[1:], np.nan, np.where(copies, shared[:, papers], own))
    return Drawn(papers, np.where(gone, np.nan, right), grounding)


def _papers(world: World, generator: np.random.Generator) -> Labels:
    if not world.uneven:
        return np.repeat(np.arange(world.papers), world.size)
    return np.repeat(np.arange(world.papers), generator.geometric(1 / world.size, world.papers))


def _outcomes(world: World, count: int, generator: np.random.Generator) -> Numbers:
    """Draw which of baseline and candidates are right, shape [experiments, count].

    A candidate is right where the baseline is wrong on (discordance + effect) / 2 of all questions,
    and the other way round on (discordance - effect) / 2.
    """
    base = generator.random(count) < world.accuracy
    rows = [base]
    for effect in world.effects:
        gained = (world.discordance + effect) / 2 / (1 - world.accuracy)
        lost = (world.discordance - effect) / 2 / world.accuracy
        flips = generator.random(count) < np.where(base, lost, gained)
        rows.append(base ^ flips)
    return np.array(rows, np.float64)


def values_of(numbers: Numbers, papers: Labels) -> Values:
    """Arrange values of questions as the statistics take them; those that are missing are out."""
    there = np.flatnonzero(~np.isnan(numbers))
    _, kept = np.unique(papers[there], return_inverse=True)
    return Values(tuple(map(str, there)), numbers[there], kept.astype(np.int64))


def pair_of(mine: Numbers, theirs: Numbers, papers: Labels) -> Paired:
    """Arrange two experiments' values over the questions that both have."""
    difference = values_of(mine - theirs, papers)
    both = ~np.isnan(mine - theirs)
    return Paired(mine[both], theirs[both], difference, int((~both).sum()))


def compared(drawn: Drawn) -> tuple[Comparison, ...]:
    """Compare the candidates with the baseline, as the promotion rule has it."""
    found = tuple(
        compare_paired(pair_of(mine, drawn.right[0], drawn.papers), metric=RULE.metric,
                       names=(f"candidate {number}", BASELINE), family="gating", low=0, high=1)
        for number, mine in enumerate(drawn.right[1:], 1)
    )  # fmt: skip
    return adjust(found) if len(found) > 1 else found  # one alone is left as it is, slowly


def grounded(drawn: Drawn) -> list[Figure]:
    """Return the candidates' grounding."""
    found = []
    for number, numbers in enumerate(drawn.grounding, 1):
        values = values_of(numbers, drawn.papers)
        lower, upper = one_sided(values, low=0, high=1)
        found.append(Figure(f"candidate {number}", GROUNDING, values.mean, None, lower, upper,
                            values.count, len(numbers), values.paper_count))  # fmt: skip
    return found


def verdicts(drawn: Drawn) -> tuple[list[Decision], tuple[Comparison, ...]]:
    """Decide on the candidates by the promotion rule; nothing leaked, all runs are whole."""
    comparisons = compared(drawn)
    names = [one.experiment for one in comparisons]
    standings = (Standing(BASELINE, barred="it is the baseline"), *map(Standing, names))
    context = Context(BASELINE, standings, leaks=LeakCheck("yes", "none"))
    rule = RULE if len(drawn.grounding) else RULE.model_copy(update={"grounding": None})
    found = decide(rule, comparisons, grounded(drawn), context)
    return [one.decision for one in found if one.experiment != BASELINE], comparisons


@dataclass(frozen=True)
class Rates:
    """How often a series of a world ends how, as shares of series.

    Attributes:
        promote: One candidate or more is promoted.
        reject: All are rejected.
        undecided: Neither.
        real: A gain was shown to be more than chance: by interval, and by the test after Holm.
        naive: McNemar's test, which ignores papers, finds a difference in the first candidate.
    """

    promote: float
    reject: float
    undecided: float
    real: float
    naive: float


def rates(world: World, runs: int, seed: int = SEED) -> Rates:
    """Make up so many series of a world, and count their verdicts."""
    counts: Counter[str] = Counter()
    for drawn in _series(world, runs, seed):
        decided, comparisons = verdicts(drawn)
        promoted, rejected = "promote" in decided, set(decided) == {"reject"}
        counts["promote" if promoted else "reject" if rejected else "undecided"] += 1
        counts["real"] += any(one.interval.low > 0 and one.adjusted < ALPHA for one in comparisons)
        first = pair_of(drawn.right[1], drawn.right[0], drawn.papers)
        counts["naive"] += mcnemar(first).p < ALPHA
    return Rates(*(counts[name] / runs for name in Rates.__dataclass_fields__))


def _series(world: World, runs: int, seed: int) -> Iterator[Drawn]:
    for number in range(runs):
        yield draw(world, np.random.default_rng([seed, number]))


def coverage(world: World, runs: int, seed: int = SEED) -> tuple[float, float]:
    """Return how often intervals hold the truth: of the baseline's share, of the difference."""
    held = [0, 0]
    for drawn in _series(world, runs, seed):
        share = mean_interval(values_of(drawn.right[0], drawn.papers), low=0, high=1)
        difference = values_of(drawn.right[1] - drawn.right[0], drawn.papers)
        gain = mean_interval(difference, low=-1, high=1)
        held[0] += share.low <= world.accuracy <= share.high
        held[1] += gain.low <= world.effects[0] <= gain.high
    return held[0] / runs, held[1] / runs


def equivalent(world: World, bound: float, runs: int, seed: int = SEED) -> float:
    """Return how often candidate and baseline are taken for equivalent."""
    found = 0
    for drawn in _series(world, runs, seed):
        pair = pair_of(drawn.right[1], drawn.right[0], drawn.papers)
        found += equivalence(pair, bound, low=0, high=1).equivalent
    return found / runs


CLUSTERED = World(40, 14, 0.2)
NO_EFFECT = (
    World(20), World(150), World(600), World(150, discordance=0.1), World(9, 14, 0.2),
    World(20, 7, 0.2), CLUSTERED, World(40, 14, 0.5), World(40, 6, 0.2, uneven=True),
    World(600, missing=0.04), replace(CLUSTERED, missing=0.04), World(600, effects=(0.0,) * 3),
    replace(CLUSTERED, effects=(0.0,) * 3),
)  # fmt: skip
EFFECTS = tuple(
    replace(world, effects=(effect,))
    for effect in (0.05, 0.10)
    for world in (World(150), World(656), CLUSTERED, World(200, 14, 0.2), World(656, missing=0.04))
)
GROUNDLESS = tuple(
    replace(world, effects=(0.15,), grounding=grounding)
    for grounding in (0.35, 0.25)
    for world in (World(600), CLUSTERED)
)
COVERED = (
    World(20), World(60), World(150), World(600), World(150, accuracy=0.95, discordance=0.06),
    World(6, 14, 0.2), World(9, 14, 0.2), World(20, 7, 0.2), World(29, 14, 0.2),
    World(30, 14, 0.2), CLUSTERED, World(100, 14, 0.2), World(40, 6, 0.2, uneven=True),
    World(100, 6, 0.2, uneven=True), replace(CLUSTERED, missing=0.04),
)  # fmt: skip
BOUND = 0.05


def powered() -> Iterator[tuple[str, World]]:
    """Yield worlds that are just so large that power is to be 80 %."""
    for discordance in (0.1, 0.2, 0.3):
        for exact in (False, True):
            count = questions_for(0.05, discordance=discordance, exact=exact)
            told = f"{count:,} questions, {discordance:.0%} discordance"
            told += ", exact McNemar's count" if exact else ", the formula's count"
            yield told, World(count, effects=(0.05,), discordance=discordance)
    for correlation, effect in ((0.05, 0.10), (0.2, 0.10)):
        design = 1 + 13 * correlation
        count = questions_for(effect, discordance=0.2, design=design, per_paper=14)
        world = World(math.ceil(count / 14), 14, correlation, (effect,), discordance=0.2)
        yield f"{world}, {effect * 100:g} points", world


def margin(runs: int, rate: float) -> float:
    """Return the half-width within which a simulated rate lies with 95 % certainty."""
    return NormalDist().inv_cdf(0.975) * math.sqrt(rate * (1 - rate) / runs)


def _table(columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    print("| " + " | ".join(columns) + " |")
    print("|---|" + "--:|" * (len(columns) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def _percent(rate: float) -> str:
    return f"{rate * 100:.1f}"


def _told(world: World) -> str:
    told = str(world)
    if len(world.effects) > 1:
        told += f", {len(world.effects)} candidates"
    if world.missing:
        told += f", {world.missing:.0%} of answers missing"
    if world.discordance != World.discordance:
        told += f", {world.discordance:.0%} discordance"
    if world.accuracy != World.accuracy:
        told += f", baseline {world.accuracy:.0%}"
    return told


def show_verdicts(runs: int) -> None:
    """Print how series of known effects are decided."""
    print(f"### Without an effect ({runs:,} series a line, ± {margin(runs, 0.05):.1%} at 5 %)\n")
    _table(("%", "promoted", "rejected", "undecided", "gain taken for real", "McNemar alone"),
           ((_told(world), *map(_percent, vars(rates(world, runs)).values()))
            for world in NO_EFFECT))  # fmt: skip
    runs = -(-runs // 2)
    print(f"### With an effect ({runs:,} series a line)\n")
    _table(("%", "gain", "promoted", "rejected", "undecided", "gain taken for real"),
           (_effect_row(world, runs) for world in EFFECTS))  # fmt: skip
    print(f"### +15 points, and too little grounding ({runs:,} series a line)\n")
    _table(("%", "grounding", "promoted", "rejected", "undecided"),
           (_ground_row(world, runs) for world in GROUNDLESS))  # fmt: skip


def _effect_row(world: World, runs: int) -> tuple[str, ...]:
    found = rates(world, runs)
    shares = (found.promote, found.reject, found.undecided, found.real)
    return _told(world), f"+{world.effects[0] * 100:g}", *map(_percent, shares)


def _ground_row(world: World, runs: int) -> tuple[str, ...]:
    found = rates(world, runs)
    shares = (found.promote, found.reject, found.undecided)
    return _told(world), f"{world.grounding:.2f}", *map(_percent, shares)


def show_coverage(runs: int) -> None:
    """Print how often intervals hold the truth."""
    runs *= 2
    print(f"### 95 % intervals ({runs:,} series a line, ± {margin(runs, 0.95):.1%})\n")
    rows = ((_told(world), *map(_percent, coverage(world, runs))) for world in COVERED)
    _table(("% that hold the truth", "a share", "a difference"), rows)


def show_power(runs: int) -> None:
    """Print how often a gain is shown where 80 % was said."""
    print(f"### Power, where 80 % was said ({runs:,} series a line, ± {margin(runs, 0.8):.1%})\n")
    _table(("%", "gain taken for real"),
           ((told, _percent(rates(world, runs).real)) for told, world in powered()))  # fmt: skip


def show_equivalence(runs: int) -> None:
    """Print how often what differs by the bound, or not at all, is taken for equivalent."""
    runs, worlds = -(-runs // 2), (World(600), World(2000), CLUSTERED)
    print(f"### Equivalence within {BOUND * 100:g} points ({runs:,} series a line)\n")
    _table(("% taken for equivalent", "5 points apart", "none apart"),
           ((_told(world), _percent(equivalent(replace(world, effects=(BOUND,)), BOUND, runs)),
             _percent(equivalent(world, BOUND, runs))) for world in worlds))  # fmt: skip


PARTS: dict[str, Callable[[int], None]] = {
    "verdicts": show_verdicts,
    "coverage": show_coverage,
    "power": show_power,
    "equivalence": show_equivalence,
}


def main() -> None:
    """Print all tables, or one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=500, metavar="N", help="series a line")
    parser.add_argument("--only", choices=PARTS, help="this part alone")
    arguments = parser.parse_args()
    rates(World(8, 2), 1)
    gc.freeze()  # statsmodels collects garbage at each correction; what is loaded need not be seen
    for name, show in PARTS.items():
        if arguments.only in (None, name):
            show(arguments.runs)


if __name__ == "__main__":
    main()
