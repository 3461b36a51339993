"""From a question to passages: the search itself, its mode, its filters, its reranker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import numpy as np

from loragraft.embedding.protocol import Embedder
from loragraft.errors import InputError, UnavailableError
from loragraft.rag.chunking.chunk import embedded_text
from loragraft.rag.index.dense import Floats, Rows
from loragraft.rag.index.layout import read_info
from loragraft.rag.index.store import Index
from loragraft.rag.records import Passage
from loragraft.rag.search.filters import Filter, matching_rows
from loragraft.rag.search.fuse import DEFAULT_WEIGHTS, Weights, fuse
from loragraft.rag.search.lexical import LEXICAL, LexicalSearch, best

Mode = Literal["dense", "lexical", "hybrid"]
MODES: tuple[Mode, ...] = ("dense", "lexical", "hybrid")
DEPTH = 100
"""Chunks that each search brings into a fusion, at least."""
RERANKED = 40
"""Chunks that a reranker reads, at least: it costs a forward pass for each."""
_DEPTH_FACTOR = 4
LONGEST_QUESTION = 20_000
"""Characters of a question that are embedded: more tokens than any embedder reads."""

OpenEmbedder = Callable[[], Embedder]


class Reranker(Protocol):
    """Reads question and passage together and says how well they go with each other."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    def score(self, question: str, texts: Sequence[str]) -> Floats:
        """Return a score for each text; greater is better."""


class _Found(NamedTuple):
    """A row with what the searches say of it."""

    row: int
    score: float
    dense: float | None
    lexical: float | None


class Retriever:
    """Finds passages in an index; it may be asked often.

    Attributes:
        index: Where.
        mode: How: by meaning (dense), by words (lexical) or by both.
        weights: Of both, where both are asked.
    """

    def __init__(
        self,
        index: Index,
        embedder: Embedder | OpenEmbedder,
        *,
        mode: Mode | None = None,
        weights: Weights = DEFAULT_WEIGHTS,
        reranker: Reranker | None = None,
    ) -> None:
        """Get ready; nothing is loaded before the first question needs it.

        Args:
            index: An open one; the caller closes it.
            embedder: The one that made the index, or what opens it; never asked for in lexical
                mode. The caller closes it.
            mode: None takes the one that measures best on this index.
            weights: Of the two searches in hybrid mode.
            reranker: Orders what was found once more.

        Raises:
            InputError: If the mode is unknown, or the index has no search by words.
            UnavailableError: If the index was updated since it was opened.
        """
        if mode is not None and mode not in MODES:
            raise InputError(f"There is no search mode {mode!r}. Choose {', '.join(MODES)}.")
        self.index, self.weights = index, weights
        self._give, self._reranker = embedder, reranker
        self._lexical = None if mode == "dense" else _open_lexical(index)
        self.mode: Mode = mode or ("dense" if self._lexical is None else "hybrid")
        if self.mode != "dense" and self._lexical is None:
            raise InputError(
                f"The index {index.path} has no search by words. Bring it up to date with "
                "loragraft rag update, or choose dense search."
            )
        self._allowed: tuple[tuple[Filter, ...], Rows] | None = None

    @cached_property
    def embedder(self) -> Embedder:
        """What embeds questions; opened when it is first needed."""
        if callable(self._give):
            return self._give()
        return self._give

    def retrieve(self, question: str, k: int, filters: Sequence[Filter] = ()) -> list[Passage]:
        """Find passages for a question, best first.

        Args:
            question: Any text; its operators are words.
            k: How many at most. Search by words finds fewer where no more has any word.
            filters: All of them hold for every passage.

        Raises:
            InputError: If the question is empty, k is below 1, or a filter's key is unknown.
            LoragraftError: Whatever the embedder refuses.
        """
        if not question.strip():
            raise InputError("The question is empty. Ask something.")
        if k < 1:
            raise InputError(f"{k} passages were asked for; give a number from 1 on.")
        rows = self._rows(tuple(filters))
        wanted = k if self._reranker is None else max(k, RERANKED)
        found = self._found(question, min(wanted, len(self.index)), rows)
        passages = self._passages(found)
        return self._reranked(question, passages)[:k]

    def _rows(self, filters: tuple[Filter, ...]) -> Rows | None:
        if not filters:
            return None
        if self._allowed is None or self._allowed[0] != filters:
            self._allowed = (filters, matching_rows(self.index, filters))
        return self._allowed[1]

    def _found(self, question: str, k: int, rows: Rows | None) -> list[_Found]:
        if self.mode == "dense":
            near = zip(*self._near(self._vector(question), k, rows), strict=True)
            return [_Found(int(r), float(s), float(s), None) for s, r in near]
        assert self._lexical is not None
        if self.mode == "lexical":
            worded = zip(*self._lexical.search(question, k, rows), strict=True)
            return [_Found(int(r), float(s), None, float(s)) for s, r in worded]
        return self._hybrid(question, k, rows, self._lexical.scores(question))

    def _hybrid(self, question: str, k: int, rows: Rows | None, words: Floats) -> list[_Found]:
        depth = min(max(DEPTH, _DEPTH_FACTOR * k), len(self.index))
        vector = self._vector(question)
        near = self._near(vector, depth, rows)[1]
        candidates = np.union1d(near, best(words, depth, rows)[1])
        with np.errstate(all="ignore"):
            dense = self.index.vectors(candidates) @ vector
        if not np.isfinite(dense).all():
            raise InputError(
                f"Vectors of the index {self.index.path} hold NaN or Inf: it is damaged. Build it "
                "again with loragraft rag index --replace."
            )
        lexical = words[candidates]
        fused = fuse(dense, lexical, self.weights)
        order = np.lexsort((candidates, -fused))[:k]
        return [
            _Found(int(candidates[i]), float(fused[i]), float(dense[i]), float(lexical[i]))
            for i in order
        ]

    def _vector(self, question: str) -> Floats:
        text = question[:LONGEST_QUESTION].encode("utf-8", "replace").decode()
        vector: Floats = self.embedder.embed([text], query=True)[0]
        return vector

    def _near(self, vector: Floats, k: int, rows: Rows | None) -> tuple[Floats, Rows]:
        scores, found = self.index.search_dense(vector[None], k, rows)
        there = found[0] >= 0
        return scores[0][there], found[0][there]

    def _passages(self, found: Sequence[_Found]) -> list[Passage]:
        chunks = self.index.chunks([one.row for one in found])
        return [
            Passage(chunk, one.score, rank, one.dense, one.lexical)
            for rank, (one, chunk) in enumerate(zip(found, chunks, strict=True), 1)
        ]

    def _reranked(self, question: str, passages: list[Passage]) -> list[Passage]:
        if self._reranker is None or not passages:
            return passages
        scores = self._reranker.score(question, [embedded_text(p.chunk) for p in passages])
        order = np.argsort(-scores, kind="stable")
        return [
            replace(passages[place], score=float(scores[place]), rank=rank)
            for rank, place in enumerate(order, 1)
        ]


def _open_lexical(index: Index) -> LexicalSearch | None:
    """Open search by words, where the index has it.

    Raises:
        InputError: If it is damaged.
        UnavailableError: If an update has replaced it since the index was opened.
    """
    folder = index.part(LEXICAL)
    try:
        return None if folder is None else LexicalSearch(folder, len(index))
    except InputError:
        if read_info(index.path).generation == index.info.generation:
            raise
    raise UnavailableError(
        f"The index {index.path} was brought up to date just after it was opened. Open it, or run "
        "the same command, again."
    )
