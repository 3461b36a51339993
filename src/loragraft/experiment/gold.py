"""The texts of a question's gold evidence, out of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from loragraft.dataset.records import Evidence, Qa, TaskRecord, parse_evidence
from loragraft.rag.records import Chunk

DocumentOf = Callable[[str], Sequence[Chunk]]
"""Returns a document's chunks in their order; none where there is no such document."""

GAP = "\n\n"
"""Stands where a document had something that is no chunk's; one character between two sentences
was a blank."""


def gold_texts(record: TaskRecord, document_of: DocumentOf) -> list[str]:
    """Return the passages that hold a question's answer, each once, in the record's order.

    Evidence whose document is not in the index is left out.

    Args:
        record: Any record; only questions have evidence.
        document_of: Finds documents by their id.
    """
    if not isinstance(record, Qa):
        return []
    texts = (_text(parse_evidence(name), document_of) for name in record.evidence)
    return list(dict.fromkeys(text for text in texts if text))


def _text(place: Evidence, document_of: DocumentOf) -> str:
    chunks = document_of(place.doc_id)
    start = 0 if place.start is None else place.start
    stop = max((chunk.stop for chunk in chunks), default=0) if place.stop is None else place.stop
    return text_between(chunks, start, stop).strip()


def text_between(chunks: Sequence[Chunk], start: int, stop: int) -> str:
    """Return what a document's chunks, in their order, hold between two of its characters."""
    return "".join(_pieces(chunks, start, stop))


def _pieces(chunks: Sequence[Chunk], start: int, stop: int) -> Iterator[str]:
    """Yield what chunks hold of a document's span; what two share stands once."""
    at = start
    begun = False
    for chunk in chunks:
        first, last = max(at, chunk.start), min(stop, chunk.stop)
        if first >= last:
            continue
        if begun and first > at:
            yield " " if first == at + 1 else GAP
        yield chunk.text[first - chunk.start : last - chunk.start]
        at, begun = last, True
