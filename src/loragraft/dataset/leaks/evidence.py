"""Passages that answers stand in: which splits rest on them, and whether a corpus holds them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from loragraft.dataset.leaks.book import Book, Found
from loragraft.dataset.leaks.columns import Columns
from loragraft.dataset.leaks.inside import Wanted
from loragraft.dataset.leaks.report import EVIDENCE_CORPUS, EVIDENCE_SHARED, Place
from loragraft.dataset.leaks.shingles import SHORT_PASSAGE, Needles
from loragraft.dataset.records import Evidence, parse_evidence
from loragraft.rag.records import Document

CorpusUse = Literal["retrieval", "training"]
CORPUS_USES: tuple[CorpusUse, ...] = ("retrieval", "training")

_END = 1 << 62
"""Where a passage ends that is a whole document."""


def find_shared(columns: Columns, book: Book) -> None:
    """Note passages that a question rests on in one split, and another in another."""
    for earlier, later in columns.pairs():
        passages = _Passages(columns, columns.of(earlier))
        for number in columns.of(later):
            found = [hit for text in columns.evidence[number] if (hit := passages.meet(text))]
            if found:
                share, _, other = min((-share, columns.ids[n], n) for share, n in found)
                same = share == -1.0
                why = "rest on the same passage" if same else "rest on passages that overlap"
                book.add(Found(EVIDENCE_SHARED, "note", number, other, -share, why))


class _Passages:
    """Passages of a split by their documents."""

    def __init__(self, columns: Columns, numbers: Iterable[int]) -> None:
        rows: dict[str, list[tuple[int, int, str, int]]] = {}
        for number in numbers:
            for text in columns.evidence[number]:
                doc_id, first, last = _span(text)
                rows.setdefault(doc_id, []).append((first, last, columns.ids[number], number))
        self._rows = {doc_id: sorted(found) for doc_id, found in rows.items()}
        self._far: dict[str, list[tuple[int, int, int]]] = {}
        for doc_id, found in self._rows.items():
            far, best = [], (-1, 0, 0)
            for first, last, _, number in found:
                best = (last, first, number) if last > best[0] else best
                far.append(best)
            self._far[doc_id] = far

    def meet(self, text: str) -> tuple[float, int] | None:
        """Return how much of a passage another one shares, and whose that is."""
        doc_id, first, last = _span(text)
        rows = self._rows.get(doc_id)
        if rows is None:
            return None
        at = bisect_left(rows, (first, last, ""))
        if at < len(rows) and rows[at][:2] == (first, last):
            return 1.0, rows[at][3]
        before = bisect_left(rows, (last,))
        far, begun, number = self._far[doc_id][before - 1] if before else (-1, 0, 0)
        if far <= first:
            return None
        both = min(far, last) - max(begun, first)
        return min(both / (last - first), 0.99), number


def _span(text: str) -> tuple[str, int, int]:
    found = parse_evidence(text)
    if found.start is None or found.stop is None:
        return found.doc_id, 0, _END
    return found.doc_id, found.start, found.stop


@dataclass
class Coverage:
    """Which passages of the splits that are judged a corpus holds.

    Attributes:
        lengths: Characters of each document that is asked for and there.
        wanted: Passages' texts, to be looked for in training texts.
        total: Passages that are asked for.
        covered: Those that are there.
    """

    columns: Columns
    lengths: dict[str, int] = field(default_factory=dict)
    wanted: Wanted = field(default_factory=lambda: Wanted(Needles(SHORT_PASSAGE)))
    total: int = 0
    covered: int = 0
    _asked: dict[str, list[tuple[int, Evidence]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Remember what is asked for, by document."""
        for split in self.columns.judged():
            for number in self.columns.of(split):
                for text in self.columns.evidence[number]:
                    found = parse_evidence(text)
                    self._asked.setdefault(found.doc_id, []).append((number, found))

    def see(self, document: Document) -> None:
        """Look at a document of the corpus."""
        asked = self._asked.get(document.doc_id)
        if asked is None:
            return
        self.lengths[document.doc_id] = len(document.text)
        for number, passage in asked:
            self.wanted.add(document.text[passage.start : passage.stop], number)

    def enter(self, book: Book, use: CorpusUse) -> None:
        """Enter what was found: what a retrieval corpus lacks, what a training corpus holds."""
        for doc_id, asked in sorted(self._asked.items()):
            length = self.lengths.get(doc_id)
            for number, passage in asked:
                self.total += 1
                there = length is not None and (passage.stop or 0) <= length
                self.covered += there
                if there == (use == "training"):
                    book.add(_found(number, passage, length, use))


def _found(number: int, passage: Evidence, length: int | None, use: CorpusUse) -> Found:
    where = Place("corpus", passage.doc_id, "")
    if use == "training":
        why = "the corpus is trained on, and holds the passage that answers the question"
        return Found(EVIDENCE_CORPUS, "leak", number, where, 1.0, why)
    if length is None:
        why = f"no document of the corpus has the id {passage.doc_id!r}"
    else:
        why = f"the passage ends at character {passage.stop:,}, the document at {length:,}"
    return Found(EVIDENCE_CORPUS, "gap", number, where, 0.0, why)
