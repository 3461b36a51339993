"""Whole documents in a prompt: those of a question's gold evidence, as far as there is room.

What a document's chunks hold is put together again; between them stands a blank line where the
document had something that is no chunk's. A document without room is cut to as many neighbouring
chunks around its evidence as fit, and the sample says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from loragraft.dataset.records import Evidence, Qa, parse_evidence
from loragraft.experiment.arms.protocol import Question
from loragraft.experiment.arms.retrieval import Retrieval, retrieved_of
from loragraft.experiment.gold import text_between
from loragraft.rag.records import Chunk, Passage

CUT = "documents_cut"
"""In a sample's ``extra``: whether documents were cut to the surroundings of the evidence."""

DENSEST = 2
"""A model's tokenizer makes no less than half of the embedder's tokens of a text: documents far
longer than a context are cut before anything is counted."""

Ask = Callable[[Sequence[Passage]], Question]


def stuffed(record: Qa, retrieval: Retrieval, ask: Ask, context: int) -> Question:
    """Make a question of a record and the documents of its evidence.

    Args:
        record: With evidence.
        retrieval: Whose index holds the documents.
        ask: Makes a question of passages.
        context: Tokens that a prompt and its answer may have.
    """
    places = _by_document(record)
    documents = {name: retrieval.document(name) for name in places}
    missing = [name for name, chunks in documents.items() if not chunks]
    if missing:
        return Question(
            record,
            fault=f"The index {retrieval.config.index} has no document {missing[0]!r}, which the "
            f"evidence of {record.id} names. Build it from the corpus that the records belong to.",
        )
    most = max(len(chunks) for chunks in documents.values())

    def attempt(count: int) -> Question:
        cut = [_around(chunks, places[name], count) for name, chunks in documents.items()]
        passages = [_joined(chunks, rank) for rank, chunks in enumerate(cut, start=1)]
        question = ask(passages)
        found = tuple(map(retrieved_of, passages))
        return replace(question, retrieved=found, extra={CUT: count < most})

    return _longest(attempt, _at_most(documents.values(), context * DENSEST), len(documents))


def _at_most(documents: Collection[Sequence[Chunk]], tokens: int) -> int:
    """Return how many chunks of each document may have room, roughly; at least one."""
    most = max(len(chunks) for chunks in documents)
    total = 0
    for count in range(most):
        total += sum(chunks[count].tokens for chunks in documents if count < len(chunks))
        if total > tokens:
            return count + 1
    return most


def _longest(attempt: Callable[[int], Question], most: int, documents: int) -> Question:
    """Return the question with the most chunks of each document that all have room."""

    def whole(question: Question) -> bool:
        return not question.fault and len(question.shown) == documents

    best = attempt(most)
    if whole(best):
        return best
    low, high = 1, most - 1
    best = attempt(1)
    while low < high and whole(best):
        middle = (low + high + 1) // 2
        tried = attempt(middle)
        if whole(tried):
            low, best = middle, tried
        else:
            high = middle - 1
    return best


def _by_document(record: Qa) -> dict[str, list[Evidence]]:
    places: dict[str, list[Evidence]] = {}
    for text in record.evidence:
        found = parse_evidence(text)
        places.setdefault(found.doc_id, []).append(found)
    return places


def _around(chunks: Sequence[Chunk], places: Sequence[Evidence], count: int) -> Sequence[Chunk]:
    """Return so many neighbouring chunks, the first evidence in their middle."""
    if count >= len(chunks):
        return chunks
    at = next((n for n, chunk in enumerate(chunks) if _holds(chunk, places)), 0)
    first = min(max(0, at - (count - 1) // 2), len(chunks) - count)
    return chunks[first : first + count]


def _holds(chunk: Chunk, places: Sequence[Evidence]) -> bool:
    return any(
        place.start is None or (place.start < chunk.stop and chunk.start < (place.stop or 0))
        for place in places
    )


def _joined(chunks: Sequence[Chunk], rank: int) -> Passage:
    """Return neighbouring chunks as one passage; what they share stands once."""
    first, stop = chunks[0], max(chunk.stop for chunk in chunks)
    whole = replace(
        first,
        chunk_id=f"{first.doc_id}:{first.start}-{stop}",
        headings=first.headings[:1],
        stop=stop,
        text=text_between(chunks, first.start, stop),
        tokens=sum(chunk.tokens for chunk in chunks),
        sha256="",
    )
    return Passage(whole, score=1 / rank, rank=rank)
