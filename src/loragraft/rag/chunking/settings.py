"""How documents are cut, as an index remembers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loragraft.embedding.protocol import TextReader
from loragraft.errors import InputError
from loragraft.rag.chunking.chunk import check_budget, split
from loragraft.rag.records import Chunk, Document

SPLITTER = "1"
"""Version of how documents are cut; an index that another one made is cut again when updated."""

LONGEST_BY_ITSELF = 256
"""Tokens of a chunk where nobody asks for another length. Embedders that read thousands blur a
text of many subjects, and a prompt has room for few passages of that length."""


@dataclass(frozen=True)
class Chunking:
    """How documents are cut.

    Attributes:
        tokens: Most tokens of a chunk with its headings, special tokens apart.
        overlap: Tokens that a chunk repeats from the one before it.
    """

    tokens: int
    overlap: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as an index stores it."""
        return {"tokens": self.tokens, "overlap": self.overlap, "splitter": SPLITTER}

    def splitter(self, embedder: TextReader) -> Callable[[Document], list[Chunk]]:
        """Return what cuts documents for an embedder.

        Raises:
            InputError: If the embedder does not read as much, or the numbers do not go together.
        """
        check_budget(embedder, self.tokens, self.overlap)
        return lambda document: split(document, embedder, self.tokens, self.overlap)


def choose_chunking(
    embedder: TextReader,
    tokens: int | None = None,
    overlap: int | None = None,
    stored: Mapping[str, Any] | None = None,
) -> Chunking:
    """Return how documents are cut: as asked, else as stored, else as long as the embedder reads.

    Args:
        embedder: Whose tokenizer counts.
        tokens: Most tokens of a chunk; None where it was not asked for.
        overlap: Tokens repeated; None where it was not asked for.
        stored: What :meth:`Chunking.to_json` gave when the index was made.

    Raises:
        InputError: If the embedder does not read as much, or the numbers do not go together.
    """
    usual = Chunking(min(embedder.max_tokens, LONGEST_BY_ITSELF))
    if stored is not None:
        usual = _stored(stored)
    chosen = Chunking(
        usual.tokens if tokens is None else tokens, usual.overlap if overlap is None else overlap
    )
    check_budget(embedder, chosen.tokens, chosen.overlap)
    return chosen


def _stored(values: Mapping[str, Any]) -> Chunking:
    tokens, overlap = values.get("tokens"), values.get("overlap")
    if type(tokens) is not int or type(overlap) is not int:
        raise InputError(
            "The index does not say how its documents were cut. Build it again with loragraft "
            "rag index --replace."
        )
    return Chunking(tokens, overlap)
