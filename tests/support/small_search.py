"""Small documents for indexes with search by words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from loragraft.rag.index.options import BuildOptions
from loragraft.rag.index.store import Index
from loragraft.rag.records import Document
from loragraft.rag.search.lexical import LEXICAL, write_lexical

WITH_WORDS = BuildOptions(parts={LEXICAL: write_lexical})
Make = Callable[..., Index]


def document(doc_id: str, text: str, **metadata: Any) -> Document:  # noqa: ANN401
    """Return a document whose title is its id."""
    sha256 = hashlib.sha256(f"{doc_id}{text}{sorted(metadata.items())}".encode()).hexdigest()
    return Document(doc_id, doc_id, text, metadata, (), sha256)
