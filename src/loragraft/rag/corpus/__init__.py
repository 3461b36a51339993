"""Read documents: Markdown, text, HTML, PDF and JSON lines, whatever state they are in."""

from __future__ import annotations

from loragraft.rag.corpus.limits import Limits
from loragraft.rag.corpus.read import Unchanged, read_corpus

__all__ = ["Limits", "Unchanged", "read_corpus"]
