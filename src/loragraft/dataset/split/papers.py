"""Whole papers into splits, so that records and task types come near their shares.

Papers of different sizes fit no target exactly, and the best fit is a partition problem. Papers are
placed in the seed's order, each where most is missing of what belongs there; then papers move, or
change places, while that brings the counts nearer. Placing large ones first would end nearer, but
with much the same papers in test whatever the seed. All of it is arithmetic with whole numbers: the
same on every machine.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

from loragraft.dataset.split.rounding import SPLITS, Shares
from loragraft.dataset.split.seed import rank
from loragraft.errors import InputError

MOST_TRIALS = 2_000_000
"""Moves and exchanges that are tried: a few seconds. Some thousands do for a hundred papers."""
MOST_EXCHANGED = 150
"""Kinds of papers of which pairs are tried; with more, single moves come as near."""

Kind: TypeAlias = tuple[tuple[str, int], ...]
"""Records of each task type: papers of one kind can stand for each other."""
_PLACES = range(len(SPLITS))


def divide_papers(
    papers: Mapping[str, Mapping[str, int]], shares: Shares, seed: int
) -> dict[str, int]:
    """Return the number of each paper's split: 0 train, 1 val, 2 test.

    Args:
        papers: How many records of each task type a paper has, by its name.
        shares: Of the splits.
        seed: Decides which of papers that are alike goes where.

    Raises:
        InputError: If there are fewer papers than splits.
    """
    if len(papers) < len(SPLITS):
        raise InputError(
            f"{len(papers)} papers cannot be kept apart in {len(SPLITS)} splits; give records of "
            "more papers, or leave --group-by out."
        )
    names: dict[Kind, list[str]] = {}
    order = sorted(papers, key=lambda name: (rank(seed, "paper", name), name))
    kinds = [tuple(sorted(papers[name].items())) for name in order]
    for name, kind in zip(order, kinds, strict=True):
        names.setdefault(kind, []).append(name)
    balance = _Balance(kinds, shares)
    balance.place(kinds)
    balance.improve()
    return balance.where(names)


class _Balance:
    """How many papers of each kind are in which split, and how far the sums are from shares."""

    def __init__(self, papers: Sequence[Kind], shares: Shares) -> None:
        self._scale = math.lcm(*(share.denominator for share in shares))
        self._kinds = list(dict.fromkeys(papers))
        self._held = {kind: [0] * len(SPLITS) for kind in self._kinds}
        self._in = [0] * len(SPLITS)
        self._trials = 0
        whole: Counter[str] = Counter()
        for kind in papers:
            whole.update(dict(kind))
        self._types = sorted(whole)
        # Records in all count as much as all task types together; scaled to whole numbers.
        self._weights = [len(self._types), *[1] * len(self._types)]
        numbers = [whole.total(), *(whole[task_type] for task_type in self._types)]
        self._goals = [[int(n * share * self._scale) for n in numbers] for share in shares]
        self._over = [[-goal for goal in goals] for goals in self._goals]
        self._vectors = {kind: self._vector(kind) for kind in self._kinds}

    def _vector(self, kind: Kind) -> list[int]:
        counts = dict(kind)
        own = [counts.get(task_type, 0) for task_type in self._types]
        return [number * self._scale for number in (sum(own), *own)]

    def place(self, papers: Sequence[Kind]) -> None:
        """Place papers, each where it fills the smallest part of what belongs there."""
        for left, kind in zip(range(len(papers), 0, -1), papers, strict=True):
            size = self._vectors[kind][0]
            empty = [at for at in _PLACES if not self._in[at]]
            places = empty if left <= len(empty) else _PLACES
            self._add(kind, min(places, key=lambda at: (self._filled(at, size), -at)), 1)

    def _filled(self, at: int, more: int) -> Fraction:
        goal = self._goals[at][0]
        return Fraction(goal + self._over[at][0] + more, goal)

    def _add(self, kind: Kind, at: int, count: int) -> None:
        self._held[kind][at] += count
        self._in[at] += count
        for number, value in enumerate(self._vectors[kind]):
            self._over[at][number] += value * count

    def improve(self) -> None:
        """Move or exchange papers while that brings the sums nearer."""
        while self._trials < MOST_TRIALS and (self._move() or self._exchange()):
            pass

    def _move(self) -> bool:
        moved = False
        for kind in self._kinds:
            for start, stop in itertools.permutations(_PLACES, 2):
                if self._held[kind][start] and self._in[start] > 1:
                    moved |= self._try(kind, None, start, stop)
        return moved

    def _exchange(self) -> bool:
        moved = False
        kinds = self._kinds[:MOST_EXCHANGED]
        for one, other in itertools.combinations(kinds, 2):
            for start, stop in itertools.permutations(_PLACES, 2):
                if self._held[one][start] and self._held[other][stop]:
                    moved |= self._try(one, other, start, stop)
            if self._trials >= MOST_TRIALS:
                break
        return moved

    def _try(self, one: Kind, other: Kind | None, start: int, stop: int) -> bool:
        """Move a paper, and another one back, if the sums of squares become smaller."""
        self._trials += 1
        back = self._vectors[other] if other is not None else itertools.repeat(0)
        change = 0
        for weight, there, here, a, b in zip(
            self._weights, self._over[stop], self._over[start], self._vectors[one], back,
            strict=False,
        ):  # fmt: skip
            moved = a - b
            change += weight * moved * (there - here + moved)
        if change >= 0:
            return False
        self._add(one, start, -1)
        self._add(one, stop, 1)
        if other is not None:
            self._add(other, stop, -1)
            self._add(other, start, 1)
        return True

    def where(self, names: Mapping[Kind, Sequence[str]]) -> dict[str, int]:
        """Give the papers of each kind their splits, in the order of their names' ranks."""
        return {
            name: at
            for kind, members in names.items()
            for name, at in zip(
                members,
                itertools.chain.from_iterable([at] * self._held[kind][at] for at in _PLACES),
                strict=True,
            )
        }
