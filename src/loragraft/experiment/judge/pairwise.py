"""Answers compared in pairs by a judge, each pair in both orders.

Judges prefer what stands first (Zheng et al. 2023, arXiv 2306.05685, section 3.3): a verdict
counts only if it stays the same when the answers change places. If it does not, the pair is a tie,
and how often that happens is reported. A pair without two verdicts is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from loragraft.artifact.progress import Progress, Silent
from loragraft.engine.batch.protocol import BatchEngine
from loragraft.experiment.judge.asking import Ask, Asked, Settings, ask_judge
from loragraft.experiment.judge.book import VerdictBook
from loragraft.experiment.judge.prompt import Material, pair_prompt
from loragraft.experiment.judge.verdict import PAIR
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
        material: What they are judged by.
        a: The first experiment's answer, without citations.
        b: The second's.
        missing: Why there are not two answers; empty where there are.
    """

    question_id: str
    repeat: int
    task_type: str
    paper_id: str | None
    material: Material
    a: str = ""
    b: str = ""
    missing: str = ""

    @property
    def identical(self) -> bool:
        """Whether both say the same in the same words: a tie that nobody needs to judge."""
        return not self.missing and self.a.split() == self.b.split()

    def ask(self, order: Order) -> Ask:
        """Return what the judge is asked in one order."""
        first, second = (self.a, self.b) if order == "ab" else (self.b, self.a)
        name = f"{self.question_id}#{self.repeat}#{order}"
        return Ask(name, pair_prompt(self.material, first, second), PAIR)


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


def make_pairs(
    a: Iterable[Sample],
    b: Iterable[Sample],
    material_of: Callable[[str], Material | None],
    *,
    limit: int | None = None,
    seed: int = 0,
) -> list[Pair]:
    """Return the pairs of two experiments' answers, in the order of the first one's samples.

    Args:
        a: Samples of one experiment.
        b: Of another, over the same questions.
        material_of: What the answers to a question are judged by; None for a question that is
            not to be judged.
        limit: Only so many questions, chosen by the seed; None for all.
        seed: Which ones.
    """
    firsts, seconds = ({one.key: one for one in side} for side in (a, b))
    common = min(_repeats(firsts), _repeats(seconds))
    keys = [key for key in dict.fromkeys((*firsts, *seconds)) if key[1] < common]
    materials = {name: material_of(name) for name in dict.fromkeys(key[0] for key in keys)}
    known = [name for name, material in materials.items() if material is not None]
    chosen = frozenset(known if limit is None else choose(known, limit, seed))
    return [
        _pair(key, firsts.get(key), seconds.get(key), material)
        for key in keys
        if key[0] in chosen and (material := materials[key[0]]) is not None
    ]


def choose(names: Iterable[str], count: int, seed: int) -> list[str]:
    """Return some names, drawn by a seed whatever their order is, in the order drawn."""

    def place(name: str) -> bytes:
        return sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()

    return sorted(names, key=place)[:count]


def _repeats(samples: Iterable[tuple[str, int]]) -> int:
    return max((repeat for _, repeat in samples), default=-1) + 1


def _pair(key: tuple[str, int], a: Sample | None, b: Sample | None, material: Material) -> Pair:
    some = a or b
    assert some is not None
    about = (key[0], key[1], some.task_type, some.paper_id, material)
    faults = [
        f"{side}: {'not answered' if one is None else one.status}"
        for side, one in (("first", a), ("second", b))
        if one is None or one.status != "ok"
    ]
    if faults or a is None or b is None:
        return Pair(*about, missing="; ".join(faults))
    return Pair(*about, a=without_citations(a), b=without_citations(b))


def without_citations(sample: Sample) -> str:
    """Return an answer without its citations.

    Whether they hold is measured by grounding. Here they would only tell which experiment it is:
    the labels of two experiments mean different passages.
    """
    text = sample.answer
    spans = [(one.get("start"), one.get("stop")) for one in sample.citations]
    cuts = sorted({(x, y) for x, y in spans if type(x) is int and type(y) is int and 0 <= x < y})
    kept, at = [], 0
    for start, stop in cuts:
        if start >= at:
            kept.append(text[at:start].rstrip(" "))
        at = max(at, stop)
    return "".join([*kept, text[at:]]).strip()


def judge_pairs(
    pairs: Sequence[Pair],
    book: VerdictBook,
    open_engine: Callable[[], BatchEngine],
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> list[Judged]:
    """Let a judge compare answers; what the book knows already is not asked again.

    Args:
        pairs: The answers.
        book: Where verdicts are kept.
        open_engine: Opens who judges; called only if there is something to ask, closed after.
        settings: How the judge is asked.
        progress: Hears how far it is.

    Returns:
        What became of each pair, in their order.

    Raises:
        LoragraftError: If the engine cannot be opened, or can answer nothing at all; verdicts
            until then are kept.
    """
    if _unknown(pairs, book):
        with closing(open_engine()) as engine:
            book.bind(engine.identity())
            _ask(_unknown(pairs, book), book, engine, settings, progress or Silent())
    return settle(pairs, book.last)


def _unknown(pairs: Sequence[Pair], book: VerdictBook) -> list[tuple[Pair, Order, Ask]]:
    wanted = [(pair, order, pair.ask(order)) for pair in pairs if not _silent(pair)
              for order in ORDERS]  # fmt: skip
    return [one for one in wanted if book.get(one[2].content) is None]


def _silent(pair: Pair) -> bool:
    return bool(pair.missing) or pair.identical


def _ask(
    wanted: Sequence[tuple[Pair, Order, Ask]],
    book: VerdictBook,
    engine: BatchEngine,
    settings: Settings | None,
    progress: Progress,
) -> None:
    about = {ask.id: (pair, order, ask) for pair, order, ask in wanted}
    progress.begin(f"Judging by {engine.name}", len(wanted), "verdicts")
    with closing(ask_judge(engine, [ask for _, _, ask in wanted], settings)) as asked:
        for one in asked:
            pair, order, ask = about[one.id]
            told = {"question_id": pair.question_id, "repeat": pair.repeat, "order": order}
            book.keep(ask.content, one, told)
            progress.advance(1)


def settle(pairs: Sequence[Pair], verdict_of: Callable[[str], Asked | None]) -> list[Judged]:
    """Return what became of pairs by the verdicts that there are.

    Args:
        pairs: The answers.
        verdict_of: Returns what became of a question by :attr:`Ask.content`.
    """
    return [_settle(pair, verdict_of) for pair in pairs]


def _settle(pair: Pair, verdict_of: Callable[[str], Asked | None]) -> Judged:
    if pair.missing:
        return Judged(pair, None, {}, pair.missing)
    if pair.identical:
        return Judged(pair, "tie", {})
    found = {order: verdict_of(pair.ask(order).content) for order in ORDERS}
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
