"""What an index is: numbers for a person who wonders whether it is the right one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loragraft.rag.index.layout import SearchInfo
from loragraft.rag.index.store import Index


@dataclass(frozen=True)
class IndexStats:
    """Figures of an index.

    Attributes:
        index: Its folder.
        embedder: What a person calls it.
        documents: How many.
        chunks: How many.
        texts: How many different texts are embedded.
        skipped: How many sources could not be read.
        characters: Of all documents.
        tokens: Of all chunks.
        shortest: Tokens of the shortest chunk.
        median: Half of all chunks have fewer.
        longest: Tokens of the longest chunk.
        dimensions: Of a vector.
        bytes: Of all files, by role.
        bytes_per_chunk: Of all files together.
        memory_per_chunk: Bytes that searching maps or loads for each chunk.
        search: How vectors are searched.
        generation: Counts the committed states.
        created: UTC.
        updated: UTC.
        chunking: How documents were split.
        sources: Where they came from.
    """

    index: Path
    embedder: str
    documents: int
    chunks: int
    texts: int
    skipped: int
    characters: int
    tokens: int
    shortest: int
    median: int
    longest: int
    dimensions: int
    bytes: dict[str, int]
    bytes_per_chunk: int
    memory_per_chunk: int
    search: SearchInfo
    generation: int
    created: str
    updated: str
    chunking: dict[str, Any]
    sources: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {**asdict(self), "index": str(self.index)}


def measure_index(index: Index) -> IndexStats:
    """Return an index's figures."""
    info, store = index.info, index.store
    texts, tokens, shortest, longest = store.one(
        "SELECT count(DISTINCT sha256), sum(tokens), min(tokens), max(tokens) FROM chunks"
    )
    (characters,) = store.one("SELECT coalesce(sum(characters), 0) FROM documents")
    (median,) = store.one(
        "SELECT tokens FROM chunks ORDER BY tokens LIMIT 1 "
        "OFFSET (SELECT (count(*) - 1) / 2 FROM chunks)"
    )
    sizes = {role: file.bytes for role, file in info.files.items()}
    sizes |= {name: sum(file.bytes for file in part) for name, part in info.parts.items()}
    searched = sizes.get("search", 0) or sizes["vectors"]
    return IndexStats(
        index=index.path,
        embedder=info.embedder,
        documents=info.documents,
        chunks=info.chunks,
        texts=texts,
        skipped=info.skipped,
        characters=characters,
        tokens=tokens,
        shortest=shortest,
        median=median,
        longest=longest,
        dimensions=info.dimensions,
        bytes=sizes,
        bytes_per_chunk=sum(sizes.values()) // info.chunks,
        memory_per_chunk=searched // info.chunks,
        search=info.search,
        generation=info.generation,
        created=info.created,
        updated=info.updated,
        chunking=dict(info.chunking),
        sources=info.sources,
    )
