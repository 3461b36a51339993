"""Task records: which facts of a paper are asked, how, and what the right answers are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scripts.science.choose import Choice
from scripts.science.fields import (
    COMPARISON,
    ENTITY,
    METHOD,
    NUMERIC,
    YES_NO,
    Fact,
    Field,
    filled,
    slots,
)
from scripts.science.stating import NO, YES, Statement, filled_inside
from scripts.science.writing import Paper

QUESTIONS = {NUMERIC: 3, ENTITY: 2, METHOD: 1, YES_NO: 2, COMPARISON: 2}
"""Questions of each kind on every paper."""


def asked_facts(field: Field, choice: Choice) -> list[list[Fact]]:
    """Return for each of a field's papers which facts are asked.

    The facts of a kind take turns, so that none is asked of every paper and none of no paper.
    """
    pools: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in field.facts():
        pools[fact.kind].append(fact)
    chosen: list[list[Fact]] = [[] for _ in field.subjects]
    for kind, most in QUESTIONS.items():
        pool = choice.at(kind).shuffled(pools[kind])
        for number, facts in enumerate(chosen):
            facts += [pool[(number * most + place) % len(pool)] for place in range(most)]
    return chosen


class Asker:
    """Asks about papers one after another, with each wording as seldom as possible.

    What must be balanced is counted over all papers asked so far: yes and no, the largest and the
    smallest, the right answer named first or last.
    """

    def __init__(self, choice: Choice) -> None:
        """Ask with choices below this place."""
        self._choice = choice
        self._worded: Counter[tuple[str, str, str]] = Counter()
        self._turns: Counter[str] = Counter()

    def ask(self, paper: Paper, facts: Sequence[Fact]) -> Iterator[dict[str, Any]]:
        """Yield the task records of a paper, in an order of their own."""
        order = self._choice.at(paper.paper_id).shuffled(facts)
        for number, fact in enumerate(order, 1):
            start, stop = paper.spans[fact.key]
            question, answers = self._question(paper, paper.statements[fact.key])
            yield {
                "kind": "qa",
                "id": f"{paper.paper_id}-{number:02d}",
                "task_type": fact.kind,
                "question": question,
                "answers": answers,
                "evidence": [f"{paper.paper_id}#{start}-{stop}"],
                "paper_id": paper.paper_id,
            }

    def _question(self, paper: Paper, made: Statement) -> tuple[str, list[str]]:
        if made.fact.kind == NUMERIC:
            assert made.fact.values is not None
            ask = self._wording(paper, made.fact, made.fact.asks)
            words = {**made.words, "unit": made.fact.values.units[-1]}
            bare = made.fact.bare or "unit" in slots(ask) or "ow many" in ask
            return filled(ask, words), made.fact.values.answers(made.value, bare=bare)
        if made.fact.kind == YES_NO:
            return self._yes_or_no(paper, made)
        if made.fact.kind == COMPARISON:
            return self._comparison(paper, made)
        ask = self._wording(paper, made.fact, made.fact.asks)
        return filled(ask, made.words), _spellings(made.spellings[0])

    def _yes_or_no(self, paper: Paper, made: Statement) -> tuple[str, list[str]]:
        true = self._turn(YES_NO)
        case, states = made.state, made.fact.states
        if not true:
            others = [place for place in range(len(states)) if place != case]
            case = others[self._choice.at(paper.paper_id, made.fact.key).below(len(others))]
        ask = self._wording(paper, made.fact, made.fact.asks)
        words = {**made.words, "claim": filled_inside(states[case][1], made.words)}
        return filled(ask, words), [YES if true else NO]

    def _comparison(self, paper: Paper, made: Statement) -> tuple[str, list[str]]:
        largest = self._turn(COMPARISON) or not made.fact.least
        asks = made.fact.asks if largest else made.fact.least
        ask = self._wording(paper, made.fact, asks)
        things = list(made.spellings)
        right = things.pop() if largest else things.pop(0)
        named: Mapping[str, str] = {}
        if "a" in slots(ask):
            place = self._place(len(things) + 1)
            things.insert(place, right)
            named = {letter: thing[0] for letter, thing in zip("abc", things, strict=False)}
        return filled(ask, {**made.words, **named}), _spellings(right)

    def _place(self, count: int) -> int:
        """Return where the right answer is named, each place as often as any other."""
        key = f"place {count}"
        turn = self._turns[key]
        self._turns[key] += 1
        order = self._choice.at(key, turn // count).shuffled(range(count))
        return order[turn % count]

    def _turn(self, key: str) -> bool:
        """Return true and false equally often; which comes first in each two is chosen."""
        turn = self._turns[key]
        self._turns[key] += 1
        return bool((self._choice.at(key, turn // 2).below(2) + turn) % 2)

    def _wording(self, paper: Paper, fact: Fact, asks: Sequence[str]) -> str:
        """Return the wording that was used least."""
        keys = [(paper.field.name, fact.key, ask) for ask in asks]
        order = self._choice.at(paper.field.name, fact.key, asks[0]).shuffled(keys)
        key = min(order, key=lambda one: self._worded[one])
        self._worded[key] += 1
        return key[2]


def _spellings(spellings: Sequence[str]) -> list[str]:
    """Return accepted answers: each spelling, and without its article."""
    bare = [spelling.removeprefix("the ") for spelling in spellings]
    return list(dict.fromkeys([*spellings, *bare]))
