"""Is this the embedder that made an index? By the hashes of its files, or by what it computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from loragraft.embedding.opening import open_embedder
from loragraft.embedding.protocol import Embedder
from loragraft.embedding.spec import EmbedderSpec, spec_from_json
from loragraft.errors import InputError
from loragraft.rag.chunking.chunk import embedded_text
from loragraft.rag.index.layout import IndexInfo
from loragraft.rag.index.store import Index

SAME_COSINE = 0.999
"""Two runs of one model on two machines differ by 1e-6 or so; quantized copies of it by 1e-3."""
_EMBEDDED_AGAIN = 16
"""Chunks that are embedded again: another model shows on the first."""
_UNSEEN_WEIGHTS = frozenset({"openai"})
"""Kinds of embedders whose files nobody here can hash."""


def differences(info: IndexInfo, embedder: Embedder) -> list[str]:
    """Return in what an embedder is another than the one that made an index; empty if nothing."""
    mine, theirs = dict(info.identity), dict(embedder.identity)
    return sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))


def require_same_identity(info: IndexInfo, embedder: Embedder) -> None:
    """Refuse an embedder that did not make an index, as far as its identity tells.

    Raises:
        InputError: Naming both and what differs.
    """
    differs = differences(info, embedder)
    if differs:
        raise InputError(
            f"The index was made by {info.embedder}, and {embedder.name} is not the same: "
            f"{', '.join(differs)} differ. Vectors of two embedders cannot be compared: use the "
            "index's own, or build it again with loragraft rag index --replace."
        )


def require_same_embedder(index: Index, embedder: Embedder) -> None:
    """Refuse an embedder that did not make an index.

    Where its weights cannot be seen, one stored chunk is embedded again and compared.

    Raises:
        InputError: Naming both and what differs.
    """
    require_same_identity(index.info, embedder)
    if embedder.identity.get("kind") not in _UNSEEN_WEIGHTS:
        return
    lowest, _rows = lowest_cosine(index, embedder, 1)
    if not lowest >= SAME_COSINE:  # NaN neither
        raise InputError(
            f"{embedder.name} embeds a chunk of the index with cosine {lowest:.3f} to the vector "
            f"that it has ({SAME_COSINE} was expected): another model answers now under this "
            "name. Build the index again with loragraft rag index --replace."
        )


def open_embedder_of(
    index: Index,
    spec: EmbedderSpec | None = None,
    on_note: Callable[[str], object] | None = None,
) -> Embedder:
    """Open the embedder that made an index.

    Args:
        index: Which names it.
        spec: Where it is instead, if it is no longer where the index says.
        on_note: Told what is read, and before anything is downloaded.

    Raises:
        InputError: If it is another one, or is not found.
        UnavailableError: If a part of it is not there.
    """
    embedder = open_embedder(spec or spec_from_json(index.info.spec), on_note)
    try:
        require_same_embedder(index, embedder)
    except BaseException:
        embedder.close()
        raise
    return embedder


def lowest_cosine(
    index: Index, embedder: Embedder, count: int = _EMBEDDED_AGAIN
) -> tuple[float, int]:
    """Embed some chunks again and compare them with their stored vectors.

    Args:
        index: Whose chunks; those of which the embedder knew no word are left out.
        embedder: Who embeds them.
        count: How many chunks at most.

    Returns:
        The lowest cosine, and of how many chunks; 1.0 of none.
    """
    rows = np.unique(np.linspace(0, len(index) - 1, _EMBEDDED_AGAIN).astype(np.int64))
    rows = rows[np.linalg.norm(index.vectors(rows), axis=1) > 0][:count]
    if not len(rows):
        return 1.0, 0
    stored = index.vectors(rows)
    again = embedder.embed([embedded_text(chunk) for chunk in index.chunks(rows)])
    if again.shape != stored.shape:
        return -1.0, len(rows)
    return float((again * stored).sum(axis=1).min()), len(rows)
