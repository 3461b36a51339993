"""Bring an index up to date with its collection; what did not change is not touched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from loragraft.artifact.progress import Progress, Silent
from loragraft.embedding.protocol import Embedder
from loragraft.rag.index.layout import IndexInfo, read_info
from loragraft.rag.index.options import BuildOptions, BuildReport, Reader, Source, Split
from loragraft.rag.index.run import Run
from loragraft.rag.index.sameness import require_same_identity
from loragraft.rag.index.writing import write_access


def update_index(
    target: Path,
    documents: Source | Reader,
    embedder: Embedder,
    split: Split,
    *,
    options: BuildOptions | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Bring an index up to date.

    Documents are compared by their hashes: new and changed ones are split, and those of their
    chunks embedded whose text the index has not seen; documents that no longer come leave. The
    old state answers until the new one is committed, and after a kill.

    Args:
        target: The index's folder.
        documents: The whole collection as it is now, or what reads it when told which files the
            index knows: ``lambda known: read_corpus(sources, known=known)``.
        embedder: The one that made the index.
        split: Makes chunks, as the index's ``chunking`` says.
        options: :func:`options_of` the index by default, its other parts apart. Another chunking
            splits all documents again, another search is built anew, a part not named leaves with
            the first chunk that changes.
        progress: Told of each stage.

    Raises:
        InputError: If there is no index, another embedder made it, or no document is left.
        LockedError: If another process writes.
        OutOfSpaceError: If the disk is too small; what was embedded is kept.
    """
    require_same_identity(read_info(target), embedder)
    with write_access(target) as work:
        info = read_info(target)  # another writer may have been here
        require_same_identity(info, embedder)
        chosen = options_of(info) if options is None else _completed(options, info)
        again = dict(chosen.chunking) != dict(info.chunking)
        run = Run(target, work, embedder, chosen, progress or Silent(), split_again=again)
        return run.go(documents, split, info)


def options_of(info: IndexInfo) -> BuildOptions:
    """Return the options that an index was built with, its other parts apart."""
    return BuildOptions(
        chunking=info.chunking,
        search=info.search.asked,
        approximate_from=info.search.threshold,
        spec=info.spec,
        sources=info.sources,
    )


def _completed(options: BuildOptions, info: IndexInfo) -> BuildOptions:
    """Fill in what the new options leave open."""
    return dataclasses.replace(
        options,
        chunking=options.chunking or info.chunking,
        spec=options.spec or info.spec,
        sources=options.sources or info.sources,
    )
