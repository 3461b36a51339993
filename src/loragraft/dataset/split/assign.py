"""Which record goes into which split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, Protocol, TypeAlias

from loragraft.dataset.split.papers import divide_papers
from loragraft.dataset.split.rounding import SPLITS, Counts, Shares, apportion, round_table
from loragraft.dataset.split.seed import rank
from loragraft.dataset.split.shares import FRACTIONS, read_shares
from loragraft.errors import InputError

GroupBy: TypeAlias = Literal["paper_id"]


class Member(Protocol):
    """What of a record decides where it goes."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def task_type(self) -> str:
        """What kind of question it is."""

    @property
    def paper_id(self) -> str | None:
        """The paper that it is about."""


class Item(NamedTuple):
    """A record without its texts."""

    id: str
    task_type: str
    paper_id: str | None


class Stratum(NamedTuple):
    """Records of one paper and task type, and how many of them went where."""

    task_type: str
    paper_id: str | None
    counts: Counts

    @property
    def records(self) -> int:
        """Return how many there are."""
        return sum(self.counts)


@dataclass(frozen=True)
class Split:
    """A division of records into train, val and test.

    Attributes:
        seed: That decided it.
        shares: Of train, val and test.
        group_by: The field whose values were kept apart; None where strata were divided.
        parts: The records of each split, in the order that the seed gives them.
        strata: By task type and paper.
        papers_exact: Whether each paper as a whole is divided to within one record, too; False
            only for shares that make it impossible, and where papers were kept apart.
    """

    seed: int
    shares: Shares
    group_by: GroupBy | None
    parts: Mapping[str, tuple[Item, ...]]
    strata: tuple[Stratum, ...]
    papers_exact: bool

    @property
    def total(self) -> int:
        """Return how many records there are."""
        return sum(map(len, self.parts.values()))

    @property
    def least_for_all(self) -> int:
        """Return how many records a stratum needs for each split to have one for sure."""
        return max(-(-share.denominator // share.numerator) for share in self.shares)

    def trained_papers(self) -> frozenset[str]:
        """Return the papers of which train holds a record."""
        return frozenset(i.paper_id for i in self.parts["train"] if i.paper_id is not None)


def split_records(
    records: Iterable[Member],
    *,
    seed: int,
    fractions: Sequence[float | str | Fraction] = FRACTIONS,
    group_by: GroupBy | None = None,
) -> Split:
    """Divide records into train, val and test.

    Only ids, task types, papers and the seed decide; order, texts and platform do not.

    Args:
        records: With ids that differ.
        seed: From 0.
        fractions: Of the three; together 1.
        group_by: "paper_id" keeps each paper's records together; else every paper's records of
            each task type are divided.

    Raises:
        InputError: If there are too few, an id stands twice or the fractions are odd.
    """
    shares = read_shares(fractions)
    items = [Item(record.id, record.task_type, record.paper_id) for record in records]
    ranks = {item.id: (rank(seed, item.id), item.id) for item in items}
    _check(items, ranks, shares)
    items.sort(key=lambda item: ranks[item.id])
    if group_by is None:
        where, exact = _by_strata(items, shares, seed)
    else:
        where, exact = _by_papers(items, shares, seed), False
    parts = {
        name: tuple(item for item in items if where[item.id] == at)
        for at, name in enumerate(SPLITS)
    }
    return Split(seed, shares, group_by, parts, _strata(items, where), exact)


def _check(items: Sequence[Item], ranks: Mapping[str, object], shares: Shares) -> None:
    if len(ranks) < len(items):
        [(twice, _)] = Counter(item.id for item in items).most_common(1)
        raise InputError(f"The id {twice!r} stands twice; give each record an id of its own.")
    if min(apportion(len(items), shares)) == 0:
        counts = ", ".join(map(str, apportion(len(items), shares)))
        raise InputError(
            f"{len(items)} records are too few: {', '.join(SPLITS)} would get {counts}. Give more "
            "records, or other --fractions."
        )


def _by_strata(items: Sequence[Item], shares: Shares, seed: int) -> tuple[dict[str, int], bool]:
    """Divide the records of each paper and task type, in the order of their ranks."""
    strata: dict[tuple[str | None, str], list[Item]] = defaultdict(list)
    for item in items:
        strata[item.paper_id, item.task_type].append(item)
    # Which of two equal strata gets one more is as random as the rest, and as repeatable.
    keys = sorted(strata, key=lambda key: (rank(seed, "stratum", *key), str(key)))
    rounded = round_table({key: len(strata[key]) for key in keys}, shares, seed)
    where = {}
    for key in keys:
        places = [at for at, count in enumerate(rounded.cells[key]) for _ in range(count)]
        where.update({item.id: at for item, at in zip(strata[key], places, strict=True)})
    return where, rounded.rows


def _by_papers(items: Sequence[Item], shares: Shares, seed: int) -> dict[str, int]:
    """Keep papers whole; a record without one is a paper of its own."""
    papers: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        papers[_paper(item)][item.task_type] += 1
    where = divide_papers(papers, shares, seed)
    return {item.id: where[_paper(item)] for item in items}


def _paper(item: Item) -> str:
    return f"record {item.id}" if item.paper_id is None else f"paper {item.paper_id}"


def _strata(items: Sequence[Item], where: Mapping[str, int]) -> tuple[Stratum, ...]:
    counts: dict[tuple[str, str | None], list[int]] = defaultdict(lambda: [0] * len(SPLITS))
    for item in items:
        counts[item.task_type, item.paper_id][where[item.id]] += 1
    order = sorted(counts, key=lambda key: (key[0], key[1] is not None, key[1] or ""))
    return tuple(Stratum(*key, (c[0], c[1], c[2])) for key in order for c in [counts[key]])
