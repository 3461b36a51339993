"""Indexes made with a small embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from loragraft.embedding.protocol import Embedder
from loragraft.rag.index.build import build_index
from loragraft.rag.index.options import BuildReport
from loragraft.rag.records import Document, Skipped
from tests.support.small_index import splitter


@pytest.fixture
def build(tmp_path: Path, static: Embedder) -> Callable[..., BuildReport]:
    """Build ``tmp_path / "index"`` of documents."""

    def run(documents: Sequence[Document | Skipped], **options: object) -> BuildReport:
        split = splitter(static)
        return build_index(tmp_path / "index", documents, static, split, **options)  # type: ignore[arg-type]

    return run
