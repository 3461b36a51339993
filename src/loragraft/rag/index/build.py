"""Build an index of a collection.

What makes building and updating cheap: documents are compared by hash, chunks by the hash of what
is embedded, and every vector is kept as soon as it is there, so that a killed run goes on where
it was.
"""

from __future__ import annotations

from pathlib import Path

from loragraft.artifact.progress import Progress, Silent
from loragraft.embedding.protocol import Embedder
from loragraft.errors import BundleError
from loragraft.rag.index.options import BuildOptions, BuildReport, Source, Split
from loragraft.rag.index.run import Run
from loragraft.rag.index.writing import current, write_access


def build_index(
    target: Path,
    documents: Source,
    embedder: Embedder,
    split: Split,
    *,
    options: BuildOptions | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Build an index of a collection.

    Args:
        target: The index's folder; an unfinished one is finished.
        documents: The whole collection.
        embedder: Turns chunks into vectors.
        split: Makes chunks of a document, for this embedder.
        options: How.
        replace: Whether a finished index gives way; it answers until the new one is committed.
        progress: Told of each stage.

    Raises:
        BundleError: If an index, or something else, is there already.
        InputError: If no document has a text.
        LockedError: If another process writes.
        OutOfSpaceError: If the disk is too small; what was embedded is kept.
    """
    with write_access(target) as work:
        old = None if replace else current(target)
        if old is not None:
            raise BundleError(
                f"The index {target} is there already. Bring it up to date with loragraft rag "
                "update, or give --replace to build it anew."
            )
        run = Run(target, work, embedder, options or BuildOptions(), progress or Silent())
        return run.go(documents, split, None)
