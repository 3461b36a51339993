"""Answers laid beside passages of other papers: what a metric of grounding must not grant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from loragraft.dataset.records import Qa, TaskRecord, parse_evidence
from loragraft.errors import InputError
from loragraft.experiment.records import PassageShown, Sample

LOOKED = 200
"""Other questions that are looked at for passages: in an order made by a seed one of the first is
of another paper, unless all are of a few."""


@dataclass(frozen=True)
class _Asked:
    """A question with its passages.

    Attributes:
        id: The record's.
        paper: Its cluster; its own id where it has none.
        shown: Its passages.
        own: Documents that may hold its answer: those of its passages and of its gold evidence.
        texts: Of its passages: a document may be there twice under two names.
    """

    id: str
    paper: str
    shown: tuple[PassageShown, ...]
    own: frozenset[str]
    texts: frozenset[str]


def exchanged(
    samples: Iterable[Sample],
    records: Mapping[str, TaskRecord],
    *,
    seed: int,
    most: int | None = None,
) -> list[Sample]:
    """Return answers as they are, each with another question's passages under its own labels.

    The other question is of another paper, and none of its passages is of a document that the
    answer's own question was shown or has its evidence in. Where a seed finds no such question
    among :data:`LOOKED`, passages of those documents are left out; where none remains, the answer
    is.

    Args:
        samples: Answers; those without a text or without passages are left out.
        records: The questions, by id.
        seed: Decides whose passages each gets.
        most: Questions to take, chosen by the seed; None for all.
    """
    able = [
        sample for sample in samples
        if sample.status == "ok" and sample.shown and sample.question_id in records
    ]  # fmt: skip
    first = {sample.question_id: sample for sample in reversed(able)}
    order = [_asked(first[name], records[name])
             for name in sorted(first, key=lambda name: _rank(seed, name))]  # fmt: skip
    given = {one.id: _foreign(order, at) for at, one in enumerate(order[:most])}
    return [
        replace(sample, shown=_relabelled(sample.shown, passages))
        for sample in able
        if (passages := given.get(sample.question_id))
    ]


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"exchanged\n{seed}\n{name}".encode("utf-8", "surrogatepass")).digest()


def _asked(sample: Sample, record: TaskRecord) -> _Asked:
    paper = record.paper_id
    own = {one.doc_id for one in sample.shown} | _evidence(record)
    texts = frozenset(one.text for one in sample.shown)
    if paper is None:
        return _Asked(record.id, f"own {record.id}", sample.shown, frozenset(own), texts)
    return _Asked(record.id, f"paper {paper}", sample.shown, frozenset({*own, paper}), texts)


def _evidence(record: TaskRecord) -> set[str]:
    documents = set()
    for name in record.evidence if isinstance(record, Qa) else ():
        try:
            documents.add(parse_evidence(name).doc_id)
        except InputError:  # names no document: nothing to keep away from
            continue
    return documents


def _foreign(order: Sequence[_Asked], at: int) -> tuple[PassageShown, ...]:
    """Return the passages that a question gets; none where all are of its own documents."""
    mine, best = order[at], tuple[PassageShown, ...]()
    for step in range(1, min(len(order), LOOKED + 1)):
        other = order[(at + step) % len(order)]
        if other.paper == mine.paper:
            continue
        usable = tuple(one for one in other.shown
                       if one.doc_id not in mine.own and one.text not in mine.texts)  # fmt: skip
        if len(usable) == len(other.shown):
            return usable
        best = max(best, usable, key=len)
    return best


def _relabelled(
    own: Sequence[PassageShown], others: Sequence[PassageShown]
) -> tuple[PassageShown, ...]:
    """Put other passages under the labels that an answer cites; too few begin again."""
    return tuple(
        replace(others[at % len(others)], label=one.label, rank=one.rank)
        for at, one in enumerate(own)
    )
