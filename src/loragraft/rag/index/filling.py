"""Vectors for new chunks: from the old state, from an unfinished run, or embedded now."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loragraft.artifact.progress import Progress
from loragraft.embedding.protocol import Embedder
from loragraft.errors import NonFiniteError, UnavailableError
from loragraft.rag.index.chunk_store import ChunkStore
from loragraft.rag.index.dense import BLOCK_ROWS, ExactVectors, Floats, Rows
from loragraft.rag.index.kept import KeptVectors
from loragraft.rag.records import Chunk

WINDOW = 256
"""Texts that are embedded in one call, and kept before the next: some seconds of work, and
several batches, which are padded to about one length."""
_SEED = 20251101
_UNIT = 1e-3
"""How far a unit vector's length may be from 1: float32 and, behind endpoints, rounded text."""


@dataclass
class Filling:
    """Where the vector of every row comes from.

    Attributes:
        source: For each row its row in the old state, or -1.
        hashes: For each row without one the hash of its text.
        pending: Rows to embed, the longest texts first.
        reused: How many rows without a source have a vector all the same.
    """

    source: Rows
    hashes: dict[int, bytes]
    pending: list[int]
    reused: int


def plan_filling(
    store: ChunkStore, source: Rows, old: ChunkStore | None, kept: KeptVectors
) -> Filling:
    """Find out what has to be embedded.

    Args:
        store: The new state's chunks.
        source: For each row its row in the old state, or -1.
        old: The old state's chunks.
        kept: What an unfinished run has embedded.
    """
    source, hashes = source.copy(), dict[int, bytes]()
    lengths: dict[bytes, tuple[int, int]] = {}
    fresh = 0
    for row, sha256, tokens in store.hashed():
        if source[row] >= 0:
            continue
        fresh += 1
        known = None if old is None else old.row_of_hash(sha256.hex())
        if known is not None:
            source[row] = known
            continue
        hashes[row] = sha256
        if sha256 not in kept and sha256 not in lengths:
            lengths[sha256] = (tokens, row)
    pending = [row for _tokens, row in sorted(lengths.values(), reverse=True)]
    return Filling(source, hashes, pending, fresh - len(pending))


def windows(rows: Sequence[int], size: int = WINDOW) -> list[Sequence[int]]:
    """Cut rows that are sorted by length into calls.

    The longest come first, so that too little memory shows at once. The others are shuffled: each
    call holds texts of one length all the same, and the speed so far tells the time that is left.
    """
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    rest = parts[1:]
    random.Random(_SEED).shuffle(rest)
    return parts[:1] + rest


def embed_pending(
    filling: Filling,
    store: ChunkStore,
    kept: KeptVectors,
    embedder: Embedder,
    text_of: Callable[[Chunk], str],
    progress: Progress,
) -> None:
    """Embed what has no vector yet, and keep each call's vectors before the next.

    Raises:
        NonFiniteError: If a vector holds NaN or Inf.
        UnavailableError: If the embedder's answer is of the wrong shape or length.
        OutOfSpaceError: If the disk is full.
    """
    progress.begin(f"Embedding by {embedder.name}", len(filling.pending), "chunks")
    for rows in windows(filling.pending):
        chunks = store.chunks(rows)
        vectors = embedder.embed([text_of(chunk) for chunk in chunks], on_done=progress.advance)
        check_vectors(vectors, len(chunks), kept.dimensions, embedder.name)
        kept.add([filling.hashes[row] for row in rows], vectors)


def check_vectors(vectors: Floats, count: int, dimensions: int, name: str) -> None:
    """Refuse vectors that no index should hold.

    Raises:
        NonFiniteError: If one holds NaN or Inf.
        UnavailableError: If there are too few, or they are of other dimensions or lengths.
    """
    if vectors.ndim != 2 or len(vectors) != count or dimensions not in (0, vectors.shape[1]):
        wanted = f"{count} vectors" + (f" of {dimensions} dimensions" if dimensions else "")
        raise UnavailableError(
            f"{name} answered with an array of shape {vectors.shape}; {wanted} were expected. "
            "Check the embedder."
        )
    if not np.isfinite(vectors).all():
        raise NonFiniteError(
            f"{name} returned NaN or Inf. Check its weights with loragraft adapter verify, or "
            "another embedder."
        )
    lengths = np.linalg.norm(vectors, axis=1)
    # A text of which the embedder knows no word may have the vector of nothing.
    if ((np.abs(lengths - 1) > _UNIT) & (lengths > 0)).any():
        raise UnavailableError(
            f"{name} returned vectors of length {float(lengths.max()):.3g}; unit vectors were "
            "expected."
        )


def filled_blocks(
    filling: Filling, kept: KeptVectors, old: ExactVectors | None, dimensions: int
) -> Iterator[Floats]:
    """Return all rows' vectors, block by block."""
    for first in range(0, len(filling.source), BLOCK_ROWS):
        source = filling.source[first : first + BLOCK_ROWS]
        block = np.empty((len(source), dimensions), np.float32)
        inherited = source >= 0
        if old is not None and inherited.any():
            block[inherited] = old.array[source[inherited]]
        missing = np.nonzero(~inherited)[0]
        if len(missing):
            block[missing] = kept.vectors([filling.hashes[first + int(i)] for i in missing])
        yield block
