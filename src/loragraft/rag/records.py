"""What travels through an index: documents, chunks, and the passages that answer a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PAGE_STARTS = "page_starts"
"""Key of a document's metadata: where each page begins in its text. A chunk has its own pages
instead, under "page" and, where it ends on another, "last_page"."""


@dataclass(frozen=True)
class Heading:
    """A heading of a document.

    Attributes:
        level: 1 for the outermost.
        text: Without marks.
        start: Where the text that it heads begins, in characters of the document's text.
        line: Where its own line begins; None where the text does not hold it (the bookmarks of
            a PDF).
    """

    level: int
    text: str
    start: int
    line: int | None = None


@dataclass(frozen=True)
class Document:
    """One document as plain text.

    Attributes:
        doc_id: Unique in a collection and stable: a path relative to its source, or the record's.
        title: For people.
        text: What chunks are cut from; their spans count its characters.
        metadata: Of the source: path, page starts, whatever a record says.
        headings: In the text's order.
        sha256: Of the text, title, headings and metadata: what an update compares.
    """

    doc_id: str
    title: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    headings: tuple[Heading, ...] = ()
    sha256: str = ""


def page_starts(metadata: Mapping[str, Any]) -> list[int]:
    """Return where a document's pages begin; nothing where its metadata mean something else."""
    starts = metadata.get(PAGE_STARTS)
    if not isinstance(starts, (list, tuple)) or any(type(start) is not int for start in starts):
        return []
    return list(starts) if list(starts) == sorted(starts) else []


@dataclass(frozen=True)
class Skipped:
    """A source that could not be read, and why, as a sentence with the next step."""

    source: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """A piece of a document that fits the embedder.

    Attributes:
        chunk_id: ``<doc_id>:<start>-<stop>``, stable while the document's text is.
        doc_id: Its document.
        title: The document's.
        headings: What is embedded in front of the text, one a line, the outermost first: the
            document's title, the headings above, and a table's header where the text begins
            below it; shortened where it would crowd out the text.
        start: First character in the document's text.
        stop: One past the last.
        text: ``document.text[start:stop]``, no more and no less.
        tokens: Of what is embedded, by the embedder's tokenizer, special tokens apart.
        sha256: Of what is embedded (headings and text): the key of its vector.
        metadata: The document's.
    """

    chunk_id: str
    doc_id: str
    title: str
    headings: tuple[str, ...]
    start: int
    stop: int
    text: str
    tokens: int
    sha256: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where it stands, in words: document, pages where there are any, characters."""
        first, last = self.metadata.get("page"), self.metadata.get("last_page")
        pages = f", page {first}" if isinstance(first, int) else ""
        if pages and isinstance(last, int):
            pages = f", pages {first} to {last}"
        return f"{self.doc_id}{pages}, characters {self.start} to {self.stop}"


@dataclass(frozen=True)
class Passage:
    """A chunk that was found for a question.

    Attributes:
        chunk: What was found.
        score: Of the mode that found it; greater is better, comparable within one answer only.
        rank: 1 for the best.
        dense: Cosine similarity, where dense search saw it.
        lexical: BM25 score, where lexical search saw it.
    """

    chunk: Chunk
    score: float
    rank: int
    dense: float | None = None
    lexical: float | None = None
