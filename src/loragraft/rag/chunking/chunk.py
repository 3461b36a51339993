"""Documents cut into chunks that an embedder reads whole and a person can read alone."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from loragraft.embedding.protocol import TextReader
from loragraft.errors import InputError
from loragraft.rag.chunking.divide import divide, word_starts
from loragraft.rag.chunking.front import Fronts
from loragraft.rag.chunking.measure import Measure
from loragraft.rag.chunking.pieces import Border, Piece, find_pieces, trimmed
from loragraft.rag.chunking.plan import Cut, plan
from loragraft.rag.records import PAGE_STARTS, Chunk, Document, page_starts

SMALLEST_BUDGET = 32
"""Tokens below which a chunk says nothing that a search could find."""

CUT_WORD = "cut_word"
"""Key of a chunk's metadata, there (and true) where it begins or ends inside a word, because the
word alone is longer than a chunk."""

_SLACK = 8
"""A text of its own may have some tokens more than as a part of another (byte-pair and unigram
tokenizers): up to here the whole plan is made again with that much less room."""


def embedded_text(chunk: Chunk) -> str:
    """Return what is embedded of a chunk: its headings, one a line, then its text."""
    return "\n".join((*chunk.headings, chunk.text))


def split(document: Document, embedder: TextReader, budget: int, overlap: int = 0) -> list[Chunk]:
    """Cut a document into chunks.

    Cuts fall between sections, paragraphs, list items and sentences, in this order of preference;
    blocks of code and tables stay whole where they fit. Only a word that is longer than a chunk is
    cut itself, at a border of tokens (:data:`CUT_WORD`).

    Args:
        document: Any text.
        embedder: Whose tokenizer counts.
        budget: Most tokens of what is embedded of a chunk, special tokens apart.
        overlap: Tokens that a chunk repeats from the one before it, within a section; in whole
            sentences or lines where one fits, else in whole words.

    Returns:
        Chunks in the text's order. Together they hold every character that is no white space.

    Raises:
        InputError: If the embedder does not read as much as the budget, the budget is below
            :data:`SMALLEST_BUDGET`, or the overlap is more than half of it.
    """
    check_budget(embedder, budget, overlap)
    if not document.text.strip():
        return []
    splitter = _Splitter(document, embedder, budget, overlap)
    chunks = splitter.chunks(0)
    worst = max(chunk.tokens for chunk in chunks) - budget
    if 0 < worst <= _SLACK:
        chunks = splitter.chunks(worst)
    return [fitting for chunk in chunks for fitting in splitter.fitted(chunk)]


def check_budget(embedder: TextReader, budget: int, overlap: int) -> None:
    """Refuse chunks that the embedder does not read whole.

    Raises:
        InputError: Saying which numbers are possible.
    """
    if not SMALLEST_BUDGET <= budget <= embedder.max_tokens:
        raise InputError(
            f"Chunks of {budget} tokens: {embedder.name} reads {embedder.max_tokens} (special "
            f"tokens apart), so give a number from {SMALLEST_BUDGET} to {embedder.max_tokens}."
        )
    if not 0 <= overlap <= budget // 2:
        raise InputError(
            f"An overlap of {overlap} tokens does not go with chunks of {budget}: give a number "
            f"from 0 to {budget // 2}."
        )


class _Splitter:
    """The parts of splitting one document that share its measure."""

    def __init__(self, document: Document, embedder: TextReader, budget: int, overlap: int) -> None:
        self._document = document
        self._embedder = embedder
        self._budget = budget
        self._overlap = overlap
        self._measure = Measure(document.text, embedder)
        self._fronts = Fronts(document, embedder, budget)
        self._pieces = find_pieces(document.text, document.headings)
        self._pages = page_starts(document.metadata)
        self._metadata = {k: v for k, v in document.metadata.items() if k != PAGE_STARTS}

    def chunks(self, margin: int) -> list[Chunk]:
        """Return the cheapest chunks with so much less room than the budget."""
        room = self._budget - margin
        pieces = divide(self._pieces, self._measure, room - self._fronts.limit)
        rooms = [room - self._fronts.tokens(piece.start, piece.header) for piece in pieces]
        begins = [self._begin(pieces, number) for number in range(len(pieces))]
        cuts = plan(pieces, self._measure, rooms, begins)
        spans = [(cut.start, pieces[cut.last - 1].stop) for cut in cuts]
        return self._made(spans, [_header(pieces, cut) for cut in cuts])

    def fitted(self, chunk: Chunk) -> list[Chunk]:
        """Return a chunk, or its parts where it is longer on its own than it seemed."""
        if chunk.tokens <= self._budget or chunk.stop - chunk.start < 2:
            return [chunk]
        middle = self._middle(chunk.start, chunk.stop)
        text = self._document.text
        spans = [trimmed(text, chunk.start, middle), trimmed(text, middle, chunk.stop)]
        spans = [(start, stop) for start, stop in spans if start < stop]
        halves = self._made(spans, [""] * len(spans))
        return [part for half in halves for part in self.fitted(half)]

    def _made(self, spans: Sequence[tuple[int, int]], headers: Sequence[str]) -> list[Chunk]:
        text = self._document.text
        fronts = [
            self._fronts.at(span[0], header) for span, header in zip(spans, headers, strict=True)
        ]
        whole = [
            "\n".join((*front, text[start:stop]))
            for front, (start, stop) in zip(fronts, spans, strict=True)
        ]
        counts = self._embedder.count_tokens(whole)
        return [
            Chunk(
                chunk_id=f"{self._document.doc_id}:{start}-{stop}",
                doc_id=self._document.doc_id,
                title=self._document.title,
                headings=front,
                start=start,
                stop=stop,
                text=text[start:stop],
                tokens=count,
                sha256=hashlib.sha256(embedded.encode("utf-8", "surrogatepass")).hexdigest(),
                metadata=self._chunk_metadata(start, stop),
            )
            for front, (start, stop), embedded, count in zip(
                fronts, spans, whole, counts, strict=True
            )
        ]

    def _chunk_metadata(self, start: int, stop: int) -> dict[str, Any]:
        found = dict(self._metadata)
        if self._pages:
            first, last = bisect_right(self._pages, start), bisect_right(self._pages, stop - 1)
            found["page"] = max(first, 1)
            if last > first:
                found["last_page"] = last
        if self._inside_word(start) or self._inside_word(stop):
            found[CUT_WORD] = True
        return found

    def _inside_word(self, position: int) -> bool:
        text = self._document.text
        if not 0 < position < len(text) or text[position].isspace() or text[position - 1].isspace():
            return False
        return position not in word_starts(text, position - 1, position + 1)

    def _begin(self, pieces: Sequence[Piece], number: int) -> int:
        """Return where a chunk that begins at a piece starts, with its overlap."""
        start = pieces[number].start
        if not self._overlap or number == 0 or pieces[number].border is Border.SECTION:
            return start
        above = pieces[number - 1]
        if above.verbatim and not pieces[number].verbatim:  # the end of a table says nothing here
            return start
        begin = self._whole_pieces(pieces, number)
        if begin == start and not above.verbatim and not above.heading:
            words = word_starts(self._document.text, above.start, above.stop)
            fits = (word for word in words if self._measure.weight(word, start) <= self._overlap)
            begin = next(fits, start)
        return begin

    def _whole_pieces(self, pieces: Sequence[Piece], number: int) -> int:
        start = begin = pieces[number].start
        while number > 0 and pieces[number].border is not Border.SECTION:
            number -= 1
            heavy = self._measure.weight(pieces[number].start, start) > self._overlap
            if heavy or pieces[number].heading:
                break
            begin = pieces[number].start
        return begin

    def _middle(self, start: int, stop: int) -> int:
        """Return the beginning of a word near the middle of a span, or else the middle."""
        middle = (start + stop) // 2
        after = word_starts(self._document.text, middle - 1, stop)
        return next((word for word in after if middle <= word < stop), middle)


def _header(pieces: Sequence[Piece], cut: Cut) -> str:
    """Return the header of the table in which a chunk begins."""
    number = cut.first
    while number > 0 and pieces[number].start > cut.start:
        number -= 1
    return pieces[number].header
