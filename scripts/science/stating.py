"""Facts made definite for one paper: the sentence that states one, and the answers it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.science.choose import Choice
from scripts.science.fields import COMPARISON, NUMERIC, YES_NO, Fact, filled, slots
from scripts.science.values import Range, spread

YES, NO = "yes", "no"


@dataclass(frozen=True)
class Statement:
    """A fact of one paper.

    Attributes:
        fact: What is stated.
        sentence: As the paper says it.
        words: What fills the slots of its questions.
        spellings: Accepted answers, the paper's own first; for a comparison, of each thing
            compared, smallest value first; for yes or no, none.
        value: A number in steps of its last decimal place.
        state: For yes or no, which of the fact's states is the case.
    """

    fact: Fact
    sentence: str
    words: Mapping[str, str]
    spellings: tuple[tuple[str, ...], ...] = ()
    value: int = 0
    state: int = 0


def state(fact: Fact, words: Mapping[str, str], paper: int, turn: int, choice: Choice) -> Statement:
    """Make a fact definite.

    Args:
        fact: What to state.
        words: The paper's own words.
        paper: Its place among the papers of its field, which decides on the option and on the
            wording.
        turn: Where the rotation of wordings begins.
        choice: The place of this fact in this paper.
    """
    says = fact.says[(paper + turn) % len(fact.says)]
    option = fact.options[paper] if fact.options else ()
    if fact.kind == NUMERIC:
        values = _range(fact)
        value = values.low + choice.below(values.count)
        sentence = filled(says, {**words, "value": values.text(value)})
        return Statement(fact, sentence, words, value=value)
    if fact.kind == YES_NO:
        case = choice.below(len(fact.states))
        fragment = filled_inside(fact.states[case][0], words)
        return Statement(fact, filled(says, {**words, "says": fragment}), words, state=case)
    if fact.kind == COMPARISON:
        return _comparison(fact, says, option, words, choice)
    sentence = filled(says, {**words, "what": option[0][0]})
    return Statement(fact, sentence, words, (option[0],))


def filled_inside(text: str, words: Mapping[str, str]) -> str:
    """Fill the slots of a fragment, which begins as it is written."""
    return filled("x " + text, words)[2:] if slots(text) else text


def _comparison(
    fact: Fact,
    says: str,
    option: tuple[tuple[str, ...], ...],
    words: Mapping[str, str],
    choice: Choice,
) -> Statement:
    values = _range(fact)
    ranked = choice.at("rank").shuffled(option)
    places = [choice.at("value", rank).number() for rank in range(len(ranked))]
    measured = dict(zip(ranked, spread(values.low, values.high, places), strict=True))
    told = choice.at("order").shuffled(option)
    lettered = list(zip("abc", told, strict=False))
    names = {letter: thing[0] for letter, thing in lettered}
    numbers = {f"v{letter}": values.text(measured[thing]) for letter, thing in lettered}
    numbers |= {f"n{letter}": values.number(measured[thing]) for letter, thing in lettered}
    return Statement(fact, filled(says, {**words, **names, **numbers}), words, tuple(ranked))


def _range(fact: Fact) -> Range:
    assert fact.values is not None, fact.key
    return fact.values
