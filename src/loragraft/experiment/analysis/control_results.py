"""What a control says: passed, failed, or too little to tell, with a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

from loragraft.experiment.analysis.model import Control
from loragraft.experiment.analysis.numbers import spelled
from loragraft.experiment.table import number

SHUFFLED = "shuffled passages"
CONSTANT = "constant answer"
SHARE = 0.5
"""Of an experiment's grounding: what remains beside passages of other papers must be below it.
A metric that grants a half of its grants to passages that cannot have been meant tells more about
answers than about passages; the default support test grants them less than a fiftieth."""
LONGEST = 60
"""Characters of an answer that stand in a sentence."""

Papers = Mapping[str, str | None]
ByQuestion = Mapping[str, float]


class _Sure(NamedTuple):
    """What a mean over questions exceeds, and what it stays below: each with 95 %."""

    lower: float
    upper: float


def of_exchange(
    experiment: str, metric: str, swapped: ByQuestion, real: ByQuestion, papers: Papers
) -> Control:
    """Say whether a metric of grounding falls where the passages are of other papers.

    Over the questions that have both values: passed where what remains is surely (one-sided 95 %,
    papers being what was drawn) less than :data:`SHARE` of what was, failed where it surely is not.
    """
    both = sorted(swapped.keys() & real.keys())
    words = metric.replace("_", " ")
    if not both:
        said = (
            f"No answer of {experiment} could be laid beside passages of another paper, so nobody "
            f"knows what {words} would be there."
        )
        return Control(SHUFFLED, experiment, metric, None, _mean(real), 0, None, said)
    value, actual = fmean(swapped[q] for q in both), fmean(real[q] for q in both)
    excess = {name: swapped[name] - SHARE * real[name] for name in both}
    sure = _sure(excess, papers, -SHARE)
    passed = True if sure.upper < 0 else False if sure.lower >= 0 else None
    said = (
        f"Beside passages of other papers, {words} of {experiment} is {_share(value)} in place of "
        f"{_share(actual)} ({_questions(len(both), len(real))}): {_EXCHANGE[passed]}."
    )
    if passed is None and actual == 0:
        said = f"{words.capitalize()} of {experiment} is 0: there is nothing that could fall."
    return Control(SHUFFLED, experiment, metric, value, actual, len(both), passed, said)


_EXCHANGE = {
    True: "it tells cited passages from others",
    False: "it hardly tells cited passages from others, and proves nothing here",
    None: "too few answers to say whether it falls below half",
}


def of_questions(name: str, answer: str, values: ByQuestion, other: ByQuestion) -> Control:
    """Say what always yes or always no gets, for comparison.

    Args:
        name: Of the control.
        answer: That is given.
        values: Its factuality, by question.
        other: That of the opposite: questions on which one of both is right ask for yes or no.
    """
    right = sum(value > 0 for value in values.values())
    closed = sum(value > 0 or other.get(name, 0.0) > 0 for name, value in values.items())
    among = f", {right} of {closed} that ask for yes or no"
    return _of_all(name, values, f"Always answering {_quoted(answer)} is", among)


def of_best(answer: str, values: ByQuestion) -> Control:
    """Say what the best of all constant answers gets, for comparison."""
    which = f"Of the answers that were tried on every question the best is {_quoted(answer)}:"
    return _of_all(CONSTANT, values, which, ", and no model knows beforehand which it is")


def _of_all(name: str, values: ByQuestion, before: str, behind: str) -> Control:
    mean = _mean(values)
    if mean is None:
        return of_failure(name, "", "factuality", "no question has accepted answers")
    said = f"{before} right on {_share(mean)} of {len(values)} questions{behind}."
    return Control(name, "", "factuality", mean, None, len(values), None, said)


def of_constant(
    experiment: str,
    metric: str,
    answer: str,
    known: ByQuestion,
    real: ByQuestion,
    papers: Papers,
    *,
    lower: bool = False,
) -> Control:
    """Say whether an experiment does better than always the same answer.

    Args:
        experiment: Its id.
        metric: On which both are compared.
        answer: That is always given.
        known: What it gets, by question.
        real: What the experiment gets.
        papers: Of the questions.
        lower: Whether less is better.
    """
    both = sorted(known.keys() & real.keys())
    if not both:
        said = f"No answer of {experiment} has {metric}: there is nothing to compare."
        return Control(CONSTANT, experiment, metric, _mean(known), None, 0, None, said)
    value, actual = fmean(known[q] for q in both), fmean(real[q] for q in both)
    sign = -1.0 if lower else 1.0
    gain = {name: sign * (real[name] - known[name]) for name in both}
    sure = _sure(gain, papers, -1.0)
    passed = True if sure.lower > 0 else False if sure.upper < 0 else None
    spell = number if lower else _share
    said = (
        f"{experiment} has {spell(actual)} {metric.replace('_', ' ')}, always answering "
        f"{_quoted(answer)} has {spell(value)} ({_questions(len(both), len(real))}): "
        f"{_CONSTANT[passed]}."
    )
    return Control(CONSTANT, experiment, metric, value, actual, len(both), passed, said)


_CONSTANT = {
    True: "it does better",
    False: "it does worse than a model that reads no question",
    None: "it is not shown to do better than a model that reads no question",
}


def of_failure(name: str, experiment: str, metric: str, reason: str) -> Control:
    """Say why a control could not be had."""
    said = f"The control {name!r} could not be had: {reason.rstrip('.')}."
    return Control(name, experiment, metric, None, None, 0, None, said)


def _sure(values: ByQuestion, papers: Papers, low: float) -> _Sure:
    from loragraft.experiment.statistics.interval import one_sided
    from loragraft.experiment.statistics.sample import values_of

    return _Sure(*one_sided(values_of(values, papers), low=low, high=1.0))


def _mean(values: ByQuestion) -> float | None:
    return fmean(values.values()) if values else None


def _quoted(answer: str) -> str:
    """Return an answer as it stands in a sentence: one line, its beginning if it is long."""
    line = " ".join(answer.split())
    return repr(line if len(line) <= LONGEST else f"{line[:LONGEST]}…")


def _share(value: float) -> str:
    return spelled(value, "share")


def _questions(count: int, of: int) -> str:
    return f"{count} questions" if count == of else f"{count} of {of} questions"
