"""Answers compared in pairs by a judge, each pair in both orders.

Judges prefer what stands first (Zheng et al. 2023, arXiv 2306.05685, section 3.3): a verdict
counts only if it stays the same when the answers change places. If it does not, the pair is a tie,
and how often that happens is reported. A pair without two verdicts is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal

from loragraft.artifact.progress import Progress, Silent
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.experiment.judge.asking import Ask, Asked, Settings, ask_judge
from loragraft.experiment.judge.book import VerdictBook
from loragraft.experiment.judge.prompt import Material, pair_prompt
from loragraft.experiment.judge.verdict import PAIR
from loragraft.experiment.metrics.squad import plain_answer
from loragraft.experiment.records import Sample

Outcome = Literal["a", "b", "tie"]
"""Which experiment of a pair is better: the first, the second, or neither."""
Order = Literal["ab", "ba"]
"""Whose answer stands first in a prompt."""
ORDERS: tuple[Order, Order] = ("ab", "ba")

_WINNERS: Mapping[tuple[Order, str], Outcome] = {
    ("ab", "A"): "a", ("ab", "B"): "b", ("ba", "A"): "b", ("ba", "B"): "a",
    ("ab", "tie"): "tie", ("ba", "tie"): "tie",
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two answers to one question.

    Attributes:
        question_id: The record's.
        repeat: Of both answers.
        task_type: The record's.
        paper_id: The record's cluster; None for none.
        record: SHA-256 of the record.
        a: The first experiment's answer, without citations.
        b: The second's.
        missing: Why there are not two answers; empty where there are.
    """

    question_id: str
    repeat: int
    task_type: str
    paper_id: str | None
    record: str
    a: str = ""
    b: str = ""
    missing: str = ""

    @property
    def identical(self) -> bool:
        """Whether both say the same in the same words: a tie that nobody needs to judge."""
        return not self.missing and self.a.split() == self.b.split()

    def content(self, order: Order) -> str:
        """Return what stands for the comparison in one order: 32 hexadecimal digits."""
        told = json.dumps([self.record, *self._placed(order)]).encode("ascii")
        return sha256(told).hexdigest()[:32]

    def ask(self, order: Order, material: Material) -> Ask:
        """Return what the judge is asked in one order."""
        name = f"{self.question_id}#{self.repeat}#{order}"
        return Ask(name, pair_prompt(material, *self._placed(order)), PAIR)

    def _placed(self, order: Order) -> tuple[str, str]:
        return (self.a, self.b) if order == "ab" else (self.b, self.a)


@dataclass(frozen=True)
class Judged:
    """What became of a pair.

    Attributes:
        pair: The answers.
        outcome: Which is better; None where that is missing.
        verdicts: By order, what the judge said; none of identical answers.
        missing: Why there is no outcome; empty where there is one.
    """

    pair: Pair
    outcome: Outcome | None
    verdicts: Mapping[Order, Asked]
    missing: str = ""

    def winner(self, order: Order) -> Outcome | None:
        """Return which is better by the verdict of one order; None without one."""
        asked = self.verdicts.get(order)
        return _WINNERS[order, asked.word] if asked is not None and asked.word else None

    @property
    def agreed(self) -> bool | None:
        """Whether both orders say the same; None unless both say something."""
        both = self.winner("ab"), self.winner("ba")
        return None if None in both else both[0] == both[1]

    def turned(self) -> Judged:
        """Return the same with the experiments in the other order."""
        pair = replace(self.pair, a=self.pair.b, b=self.pair.a)
        verdicts = {_TURNED[order]: asked for order, asked in self.verdicts.items()}
        outcome = None if self.outcome is None else _OTHER[self.outcome]
        return Judged(pair, outcome, verdicts, self.missing)


_TURNED: Mapping[Order, Order] = {"ab": "ba", "ba": "ab"}
_OTHER: Mapping[Outcome, Outcome] = {"a": "b", "b": "a", "tie": "tie"}


def make_pairs(
    a: Iterable[Sample],
    b: Iterable[Sample],
    records: Mapping[str, str],
    *,
    limit: int | None = None,
    seed: int = 0,
) -> list[Pair]:
    """Return the pairs of two experiments' answers, in the order of the questions.

    Args:
        a: Samples of one experiment.
        b: Of another, over the same questions.
        records: SHA-256 of each question's record, by its id; samples of others are left out.
        limit: Only so many questions, chosen by the seed; None for all.
        seed: Which ones.
    """
    firsts, seconds = ({one.key: one for one in side} for side in (a, b))
    common = min(_repeats(firsts), _repeats(seconds))
    chosen = records if limit is None else frozenset(choose(records, limit, seed))
    return [
        _pair((name, repeat), firsts.get((name, repeat)), seconds.get((name, repeat)), digest)
        for name, digest in records.items()
        for repeat in range(common)
        if name in chosen and not (firsts.keys() | seconds.keys()).isdisjoint([(name, repeat)])
    ]


def choose(names: Iterable[str], count: int, seed: int) -> list[str]:
    """Return some names, drawn by a seed whatever their order is, in the order drawn."""

    def place(name: str) -> bytes:
        return sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()

    return sorted(names, key=place)[:count]


def _repeats(samples: Iterable[tuple[str, int]]) -> int:
    return max((repeat for _, repeat in samples), default=-1) + 1


def _pair(key: tuple[str, int], a: Sample | None, b: Sample | None, record: str) -> Pair:
    some = a or b
    assert some is not None  # the key is of one of them
    about = (*key, some.task_type, some.paper_id, record)
    if a is None or b is None or a.status != "ok" or b.status != "ok":
        return Pair(*about, missing="; ".join(_faults(a, b)))
    return Pair(*about, a=plain_answer(a), b=plain_answer(b))


def _faults(a: Sample | None, b: Sample | None) -> Iterator[str]:
    for side, one in (("first", a), ("second", b)):
        if one is None or one.status != "ok":
            yield f"{side}: {'not answered' if one is None else one.status}"


def judge_pairs(
    pairs: Sequence[Pair],
    book: VerdictBook,
    open_engine: Callable[[], BatchEngine],
    material_of: Callable[[str], Material],
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> list[Judged]:
    """Let a judge compare answers; what the book knows already is not asked again.

    Args:
        pairs: The answers.
        book: Where verdicts are kept.
        open_engine: Returns who judges, opened; called only if there is something to ask.
        material_of: Returns what the answers to a question are judged by.
        settings: How the judge is asked.
        progress: Hears how far it is.

    Returns:
        What became of each pair, in their order.

    Raises:
        LoragraftError: If the engine cannot be opened, or can answer nothing at all; verdicts
            until then are kept.
    """
    if _unknown(pairs, book):
        engine = open_engine()
        book.bind(engine.identity())
        _ask(_unknown(pairs, book), book, engine, material_of, settings, progress or Silent())
    return settle(pairs, book.last)


def _unknown(pairs: Iterable[Pair], book: VerdictBook) -> dict[str, tuple[Pair, Order]]:
    """Return comparisons without a verdict, by what they are."""
    wanted = {
        pair.content(order): (pair, order)
        for pair in pairs
        if not pair.missing and not pair.identical
        for order in ORDERS
    }
    return {content: one for content, one in wanted.items() if book.get(content) is None}


def _ask(
    wanted: Mapping[str, tuple[Pair, Order]],
    book: VerdictBook,
    engine: BatchEngine,
    material_of: Callable[[str], Material],
    settings: Settings | None,
    progress: Progress,
) -> None:
    asks = [pair.ask(order, material_of(pair.question_id)) for pair, order in wanted.values()]
    about = dict(zip((ask.id for ask in asks), wanted.items(), strict=True))
    progress.begin(f"Judging by {engine.name}", len(wanted), "verdicts")
    with closing(ask_judge(engine, asks, settings)) as answers:
        for asked in answers:
            content, (pair, order) = about[asked.id]
            told = {"question_id": pair.question_id, "repeat": pair.repeat, "order": order}
            book.keep(content, asked, told)
            progress.advance(1)


def settle(pairs: Sequence[Pair], verdict_of: Callable[[str], Asked | None]) -> list[Judged]:
    """Return what became of pairs by the verdicts that there are.

    Args:
        pairs: The answers.
        verdict_of: Returns what became of a comparison by :meth:`Pair.content`.
    """
    return [_settle(pair, verdict_of) for pair in pairs]


def _settle(pair: Pair, verdict_of: Callable[[str], Asked | None]) -> Judged:
    if pair.missing:
        return Judged(pair, None, {}, pair.missing)
    if pair.identical:
        return Judged(pair, "tie", {})
    found = {order: verdict_of(pair.content(order)) for order in ORDERS}
    verdicts = {order: asked for order, asked in found.items() if asked is not None}
    judged = Judged(pair, None, verdicts)
    faults = [
        f"{order}: {'not asked' if (asked := found[order]) is None else asked.status}"
        for order in ORDERS
        if judged.winner(order) is None
    ]
    if faults:
        return Judged(pair, None, verdicts, "judge, " + "; ".join(faults))
    outcome = judged.winner("ab") if judged.agreed else "tie"
    return Judged(pair, outcome, verdicts)
