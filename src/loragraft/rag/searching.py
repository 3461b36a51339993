"""An index ready for questions: opened, its embedder loaded when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loragraft.artifact.closing import Closing
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import spec_from_json
from loragraft.errors import InputError
from loragraft.rag.index.sameness import open_embedder_of
from loragraft.rag.index.store import Index, open_index
from loragraft.rag.naming import name_stored
from loragraft.rag.records import Passage
from loragraft.rag.search.filters import Filter, parse_filter
from loragraft.rag.search.retrieve import Mode, Reranker, Retriever

Note = Callable[[str], object]
_WARM_UP = "warm up"


@dataclass(frozen=True)
class SearchRequest:
    """How an index is searched.

    Attributes:
        mode: By meaning, by words or both; None takes what measures best.
        filters: Conditions such as ``year>=2010``; all must hold.
        reranker: Folder of a cross-encoder that orders the best once more.
        embedder: Where the index's embedder is now, if it moved.
        adapter: Where its adapter is now, if it moved.
    """

    mode: Mode | None = None
    filters: Sequence[str] = ()
    reranker: Path | None = None
    embedder: str | None = None
    adapter: str | None = None


class Search(Closing):
    """An open index; a context manager.

    Attributes:
        index: What is searched.
    """

    def __init__(self, path: Path, request: SearchRequest, on_note: Note | None = None) -> None:
        """Open an index; no model is loaded yet.

        Args:
            path: Its folder.
            request: How it is searched.
            on_note: Told what is read, and before anything is downloaded.

        Raises:
            InputError: If there is no such index, or a filter or the mode does not go with it.
            LoragraftError: If the reranker cannot be opened.
        """
        self._request, self._note = request, on_note
        self._filters: list[Filter] = [parse_filter(text) for text in request.filters]
        self._embedder: Embedder | None = None
        self.index: Index = open_index(path)
        try:
            self._retriever = Retriever(
                self.index, self.embedder, mode=request.mode, reranker=self._reranker()
            )
        except BaseException:
            self.index.close()
            raise

    @property
    def mode(self) -> Mode:
        """How it searches."""
        return self._retriever.mode

    def retrieve(self, question: str, k: int) -> list[Passage]:
        """Find passages for a question, best first.

        Raises:
            InputError: If the question is empty, a filter's key is unknown, or the embedder is
                another one than the index's.
            LoragraftError: Whatever the embedder refuses.
        """
        return self._retriever.retrieve(question, k, self._filters)

    def load(self) -> None:
        """Load everything now, so that the first question does not wait.

        Raises:
            InputError: If a filter's key is unknown, or the embedder is another one.
            LoragraftError: Whatever the embedder refuses.
        """
        self.retrieve(_WARM_UP, 1)

    def close(self) -> None:
        """Close index and embedder; twice does no harm."""
        if self._embedder is not None:
            self._embedder.close()
        self.index.close()

    def embedder(self) -> Embedder:
        """Return the index's embedder, opened once; it is closed with the search.

        Raises:
            LoragraftError: Whatever opening it refuses.
        """
        if self._embedder is None:
            request, stored = self._request, spec_from_json(self.index.info.spec)
            spec = name_stored(stored, request.embedder, request.adapter)
            self._embedder = open_embedder_of(self.index, spec, self._note)
        return self._embedder

    def _reranker(self) -> Reranker | None:
        if self._request.reranker is None:
            return None
        from loragraft.rag.search.rerank import CrossEncoderReranker

        folder = self._request.reranker
        if folder.is_dir() and not (folder / "config.json").exists():
            raise InputError(
                f"{folder} holds no config.json: it is no model. Give the folder of a "
                "cross-encoder."
            )
        return CrossEncoderReranker(folder)
