"""Passages for the questions of a series: found once, for all of its arms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from loragraft.artifact.closing import Closing
from loragraft.experiment.config import RetrievalConfig
from loragraft.experiment.records import PassageShown, Retrieved
from loragraft.rag.index.layout import IndexInfo, read_info

if TYPE_CHECKING:
    from loragraft.embedding.protocol import Embedder
    from loragraft.rag.answering.numbering import Shown
    from loragraft.rag.records import Chunk, Passage
    from loragraft.rag.searching import Search

DEPTH = 10
"""Passages that are looked for at least, shown or not: recall@10 and what was found but not shown
are measured on them. Up to a depth of 25, hybrid search finds the same best ones."""

Note = Callable[[str], object]


class Retrieval(Closing):
    """An index that is asked the same questions by several arms; opened when it is first asked."""

    def __init__(self, config: RetrievalConfig, on_note: Note | None = None) -> None:
        """Remember where the index is.

        Args:
            config: Of the series.
            on_note: Told what is read, and before anything is downloaded.
        """
        self.config = config
        self._note = on_note
        self._search: Search | None = None
        self._found: dict[str, tuple[Passage, ...]] = {}
        self._chunks: dict[str, Chunk] = {}

    def find(self, question: str) -> tuple[Passage, ...]:
        """Return the passages of a question, best first: at least ``DEPTH`` where there are.

        Raises:
            InputError: If there is no such index, or a filter or the mode does not go with it.
            LoragraftError: Whatever the embedder refuses.
        """
        if question not in self._found:
            depth = max(self.config.passages, DEPTH)
            passages = self._opened().retrieve(question, depth)
            self._found[question] = tuple(map(self._interned, passages))
        return self._found[question]

    def document(self, doc_id: str) -> list[Chunk]:
        """Return a document's chunks in their order; none where the index has no such document."""
        index = self._opened().index
        chunks = index.chunks(index.rows_of([doc_id]))
        return sorted(chunks, key=lambda chunk: chunk.start)

    def embedder(self) -> Embedder:
        """Return the index's embedder, which is closed with the index.

        Raises:
            InputError: If there is no such index.
            LoragraftError: Whatever the embedder refuses.
        """
        return self._opened().embedder()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides which passages a question gets, as JSON values; opens no index.

        Raises:
            InputError: If there is none.
        """
        config, info = self.config, read_info(self.config.index)
        return {
            "files": _contents(info),
            "embedder": dict(info.identity),
            "chunking": dict(info.chunking),
            "passages": config.passages,
            "mode": config.mode,
            "filters": list(config.filters),
        }

    def close(self) -> None:
        """Close the index; twice does no harm."""
        if self._search is not None:
            self._search.close()

    def _opened(self) -> Search:
        if self._search is None:
            from loragraft.rag.searching import Search, SearchRequest

            config = self.config
            request = SearchRequest(config.mode, config.filters, embedder=config.embedder)
            self._search = Search(config.index, request, self._note)
        return self._search

    def _interned(self, passage: Passage) -> Passage:
        """Keep each chunk once, however many questions find it."""
        chunk = self._chunks.setdefault(passage.chunk.chunk_id, passage.chunk)
        return replace(passage, chunk=chunk)


def _contents(info: IndexInfo) -> dict[str, str]:
    """Return what an index's files hold, by their roles: their names count rebuilds."""
    found = {role: file.sha256 for role, file in info.files.items()}
    for part, files in info.parts.items():
        inside = {f"{part}/{file.name.partition('/')[2]}": file.sha256 for file in files}
        found.update(inside)
    return found


def retrieved_of(passage: Passage) -> Retrieved:
    """Return what is recorded of a passage that was found."""
    chunk = passage.chunk
    return Retrieved(chunk.chunk_id, chunk.doc_id, chunk.start, chunk.stop, passage.score)


def shown_of(shown: Shown, text: str) -> PassageShown:
    """Return what is recorded of a passage in a prompt.

    Args:
        shown: Under its number.
        text: As the model reads it, without the marks of quoted lines.
    """
    chunk, passage = shown.passage.chunk, shown.passage
    return PassageShown(
        shown.label, chunk.chunk_id, chunk.doc_id, chunk.title, chunk.start, chunk.stop, text,
        passage.score, passage.rank,
    )  # fmt: skip
