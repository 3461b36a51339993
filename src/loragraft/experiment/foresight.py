"""What the questions of a series can show, told before any is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from loragraft.errors import InputError, MissingExtraError
from loragraft.experiment.analysis.numbers import difference
from loragraft.experiment.analysis.values import LARGEST
from loragraft.experiment.arm_run import folder_of
from loragraft.experiment.config import SeriesConfig
from loragraft.experiment.questions import QuestionFile
from loragraft.experiment.scoring import read_scores
from loragraft.experiment.statistics.power import (
    ALPHA,
    design_effect,
    detectable,
    fewest,
    questions_for,
)
from loragraft.experiment.statistics.sample import Paired, paired
from loragraft.experiment.table import by_question
from loragraft.experiment.verdict.candidates import candidates

DISCORDANCE = 0.2
"""Share of questions on which two experiments are assumed to disagree: between the 10 and 30 % that
a fine-tune mostly changes."""
CORRELATION = 0.1
"""Of questions of one paper, assumed: differences resemble each other less than answers do."""
ENOUGH = 20
"""Questions from which on what was answered tells more than an assumption."""
FACTUALITY = "factuality"
"""Of right and wrong alone it can be assumed how often experiments disagree."""
_SHARES = frozenset({FACTUALITY, "judge_points"})


@dataclass(frozen=True)
class Foresight:
    """What so many questions can show.

    Attributes:
        metric: On which a gain is looked for.
        questions: How many there are.
        papers: Papers among them; a question without one is its own.
        candidates: Experiments that may be promoted: the test is corrected for so many.
        discordance: Share of questions on which experiments are assumed to disagree; None where
            runs have told.
        deviation: Of the differences, as runs have told; None where they have not.
        design: Effect of papers.
        gain: That the rule asks for.
        smallest: Difference that can be shown with 80 % power; None for none.
        needed: Questions that would show the rule's gain; None where none can be named.
        lines: All of it in words.
    """

    metric: str
    questions: int
    papers: int
    candidates: int
    discordance: float | None
    deviation: float | None
    design: float
    gain: float
    smallest: float | None = None
    needed: int | None = None
    lines: tuple[str, ...] = ()

    @property
    def alpha(self) -> float:
        """Return what the smallest p of all candidates must be below."""
        return ALPHA / self.candidates


def foresee(config: SeriesConfig) -> Foresight | None:
    """Return what the questions of a series can show; None where nothing is promoted or asked."""
    rule, names = config.promotion, candidates(config)
    if rule is None or not names:
        return None
    try:
        questions = QuestionFile(config).of(config.experiments[names[0]].task)
    except InputError:
        return None  # each experiment's plan says why it has no questions
    papers = {record.id: record.paper_id for record in questions.records}
    counted = len({(p is None, name if p is None else p) for name, p in papers.items()})
    size = sum(number * number for number in _sizes(papers)) / len(questions)
    found = Foresight(rule.metric, len(questions), counted, len(names), DISCORDANCE, None,
                      1 + (size - 1) * CORRELATION, rule.gain)  # fmt: skip
    widest = max(_answered(config, names, papers), key=_variance, default=None)
    if widest is not None:
        deviation = float(widest.difference.values.std(ddof=1))
        design = design_effect(widest.difference)
        found = replace(found, discordance=None, deviation=deviation, design=design)
    elif rule.metric != FACTUALITY:
        return replace(found, discordance=None, lines=(
            f"Nothing is known yet of how {rule.metric} varies: what {len(questions):,} questions "
            f"can show is told once {ENOUGH} are answered.",
        ))  # fmt: skip
    try:
        found = _reckoned(found)
    except MissingExtraError as error:
        return replace(found, lines=(str(error),))
    answered = None if widest is None else widest.difference.count
    return replace(found, lines=tuple(_told(found, answered)))


def _sizes(papers: dict[str, str | None]) -> list[int]:
    counts: dict[str, int] = {}
    for paper in papers.values():
        if paper is not None:
            counts[paper] = counts.get(paper, 0) + 1
    alone = sum(paper is None for paper in papers.values())
    return [*counts.values(), *([1] * alone)]


def _answered(
    config: SeriesConfig, names: tuple[str, ...], papers: dict[str, str | None]
) -> Iterator[Paired]:
    """Yield what candidates and baseline have answered so far, where that is enough."""
    rule, baseline = config.promotion, config.resolve(config.baseline)
    assert rule is not None
    assert baseline is not None
    theirs = _values(config, baseline, rule.metric, papers)
    for name in names:
        pair = paired(_values(config, name, rule.metric, papers), theirs, papers)
        if pair.difference.count >= ENOUGH and pair.difference.values.any():
            yield pair


def _values(
    config: SeriesConfig, name: str, metric: str, papers: dict[str, str | None]
) -> dict[str, float]:
    scores = read_scores(folder_of(config, name))
    found = by_question(one for one in scores if one.metric == metric)
    return {key: value for key, value in found.items() if key in papers and abs(value) <= LARGEST}


def _variance(pair: Paired) -> float:
    return float(pair.difference.values.var()) * design_effect(pair.difference)


def _reckoned(found: Foresight) -> Foresight:
    smallest = detectable(
        found.questions, discordance=found.discordance, deviation=found.deviation,
        design=found.design, papers=found.papers, alpha=found.alpha,
    )  # fmt: skip
    if not found.gain:
        return replace(found, smallest=smallest)
    needed = questions_for(
        found.gain, discordance=found.discordance, deviation=found.deviation, design=found.design,
        per_paper=found.questions / found.papers, alpha=found.alpha,
        exact=found.papers == found.questions,
    )  # fmt: skip
    return replace(found, smallest=smallest, needed=needed)


def _told(found: Foresight, answered: int | None) -> Iterator[str]:
    unit = "share" if found.metric in _SHARES else ""
    asked = f"{found.questions:,} questions"
    if found.papers < found.questions:
        asked += " of one paper" if found.papers == 1 else f" of {found.papers:,} papers"
    if found.smallest is None:
        what = "papers" if found.papers < found.questions else "questions"
        said = (f"{asked} can show no difference at all: the signs of fewer than "
                f"{fewest(found.alpha)} {what} never come below p = {found.alpha:.3g}")  # fmt: skip
    else:
        shown = difference(found.smallest, unit).lstrip("+")
        said = f"{asked} can show a difference of {shown} of {found.metric}"
    if found.needed is not None:
        said += f"; {difference(found.gain, unit)} would need about {found.needed:,}"
    corrected = f", corrected for {found.candidates} candidates" if found.candidates > 1 else ""
    yield f"{said} (80 % power, two-sided {ALPHA:.0%}{corrected})."
    if answered is None:
        alike = "" if found.design == 1 else f", and an intra-class correlation of {CORRELATION:g}"
        yield f"That assumes experiments that disagree on {DISCORDANCE:.0%} of questions{alike}."
    else:
        bound = f", and papers make their variance {found.design:.1f} times as large"
        yield (f"That rests on {answered:,} questions that were answered: differences deviate by "
               f"{found.deviation:.2f}{bound if round(found.design, 1) != 1 else ''}.")  # fmt: skip
