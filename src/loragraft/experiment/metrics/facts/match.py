"""Whether an answer is right: does it say what an accepted answer says, and nothing against it?

The answer's beginning decides. An answer that denies the accepted one, or lists it among several
candidates, is wrong.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from loragraft.experiment.metrics.facts import yes_no
from loragraft.experiment.metrics.facts.lists import is_listed, is_many
from loragraft.experiment.metrics.facts.options import Options, choose, offered
from loragraft.experiment.metrics.facts.quantities import Quantity, read_quantity
from loragraft.experiment.metrics.facts.statements import cleaned, deciding, denied
from loragraft.experiment.metrics.facts.terms import longest, mentions, terms
from loragraft.experiment.metrics.facts.wanted import Wanted

VERSION = 1
"""Counts up when the same answer may be judged otherwise."""
Way = Literal["empty", "yes or no", "choice", "quantity", "text"]
_TIGHT = 3
"""Words between two numbers of a list: "5, 7 or about 9 days"."""
_PARTING = re.compile(r"\b(?:in|at|for|by|with|of|on|than|after|before|against|from)\b")
"""Between two numbers that are about two things: "22 % in the cold and 90 % at noon"."""


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right.

    Attributes:
        right: Whether it is.
        way: How it was compared.
        reason: What decided, for people.
    """

    right: bool
    way: Way
    reason: str


def judge_answer(answer: str, accepted: Sequence[str], question: str = "") -> Verdict:
    """Compare an answer with those that count as right.

    Args:
        answer: Without its citations.
        accepted: At least one.
        question: What was asked: it says which units go without saying, and what there was to
            choose from.
    """
    text = cleaned(answer)
    if not any(letter.isalnum() for letter in text):
        return Verdict(False, "empty", "the answer is empty")
    wanted = yes_no.polarity(accepted)
    if wanted is not None:
        said, how = yes_no.decide(text, question)
        return Verdict(said == wanted, "yes or no", f"{said or 'undecided'}: {how}")
    options = offered(question, accepted)
    if options is not None:
        return _by_choice(text, options, question)
    return _by_content(text, accepted, question)


def _by_choice(text: str, options: Options, question: str) -> Verdict:
    for statement in deciding(text, question):
        chosen = choose(statement, options, question)
        if chosen is not None:
            why = "the accepted one" if chosen else "the other one"
            return Verdict(chosen, "choice", f"it chooses {why}")
    return Verdict(False, "choice", "it chooses none of both, or both")


def _by_content(text: str, accepted: Sequence[str], question: str) -> Verdict:
    """Compare numbers with numbers, and the rest as text; one of both suffices."""
    quantities = [found for one in accepted if (found := read_quantity(one)) is not None]
    texts = [one for one in accepted if read_quantity(one) is None]
    statements = deciding(text, question)
    ways: list[Callable[[], Verdict]] = []
    if quantities:
        ways.append(lambda: _by_quantity(statements, quantities, question))
    if texts:
        ways.append(lambda: _by_text(text, statements, texts))
    verdicts = [way() for way in ways]
    return next((one for one in verdicts if one.right), verdicts[0])


def _by_text(text: str, statements: Sequence[str], accepted: Sequence[str]) -> Verdict:
    phrases = [terms(one) for one in accepted]
    for statement in statements:
        words = terms(statement)
        found = longest([one for phrase in phrases for one in mentions(words, phrase)])
        if not found:
            continue
        first = found[0]
        if denied(statement, first.start, first.stop):
            return Verdict(False, "text", "it denies the accepted answer")
        last = found[-1] if len(found) > 1 else first
        if is_many(text) or _listed(statement, first.start, last.stop, first.stop):
            return Verdict(False, "text", "it lists several candidates")
        return Verdict(True, "text", f"it says {statement[first.start : first.stop]!r}")
    return Verdict(False, "text", "no accepted answer stands in what it says first")


def _listed(statement: str, start: int, last: int, stop: int) -> bool:
    """Whether a mention is one of a list; two accepted answers side by side are none."""
    return is_listed(statement, start, stop) and is_listed(statement, start, last)


def _by_quantity(statements: Sequence[str], accepted: Sequence[Quantity], question: str) -> Verdict:
    wanted = Wanted(accepted, question)
    for statement in statements:
        found = wanted.candidates(statement)
        if found:
            return _of_candidates(statement, found, wanted)
    return Verdict(False, "quantity", "it names no such quantity in what it says first")


def _of_candidates(statement: str, found: Sequence[Quantity], wanted: Wanted) -> Verdict:
    for place, one in enumerate(found):
        right = wanted.is_right(one)
        shown = statement[one.start : one.stop]
        if denied(statement, one.start, one.stop):
            if right:
                return Verdict(False, "quantity", f"it denies {shown!r}")
            continue  # not 90 but 95 months
        if not right:
            return Verdict(False, "quantity", f"it says {shown!r}")
        if not _alone(statement, found, place, wanted):
            return Verdict(False, "quantity", f"it lists others beside {shown!r}")
        return Verdict(True, "quantity", f"it says {shown!r}")
    return Verdict(False, "quantity", "it only denies other quantities")


def _alone(statement: str, found: Sequence[Quantity], place: int, wanted: Wanted) -> bool:
    """Whether no other candidate stands close by, but the same in other words or units."""
    for one, other in itertools.pairwise(found[place:]):
        between = statement[one.stop : other.start]
        if len(between.split()) > _TIGHT or _PARTING.search(between):
            return True
        if not wanted.agrees(other) and not denied(statement, other.start, other.stop):
            return False
    return True
