"""From files and folders to an index, and the index up to date with them again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from loragraft.artifact.progress import Progress, Silent
from loragraft.embedding.opening import open_embedder
from loragraft.embedding.spec import EmbedderSpec, spec_from_json
from loragraft.errors import InputError
from loragraft.rag.chunking.settings import choose_chunking
from loragraft.rag.corpus import read_corpus
from loragraft.rag.corpus.find import find_documents, shown
from loragraft.rag.index.approximate import APPROXIMATE_FROM
from loragraft.rag.index.build import build_index
from loragraft.rag.index.layout import Asked, IndexInfo, read_info
from loragraft.rag.index.options import BuildOptions, BuildReport, PartWriter, Reader
from loragraft.rag.index.update import options_of, update_index
from loragraft.rag.naming import name_stored
from loragraft.rag.search.lexical import LEXICAL, write_lexical

PARTS: Mapping[str, PartWriter] = {LEXICAL: write_lexical}
"""What every index has beside its vectors."""


@dataclass(frozen=True)
class IndexRequest:
    """What is to be indexed, and how.

    Attributes:
        sources: Files and folders.
        embedder: By what.
        chunk_tokens: Most tokens of a chunk; None takes what suits the embedder.
        overlap: Tokens that a chunk repeats from the one before it.
        search: How vectors are searched.
        approximate_from: Chunks from which ``auto`` search is approximate.
    """

    sources: Sequence[Path]
    embedder: EmbedderSpec = field(default_factory=EmbedderSpec)
    chunk_tokens: int | None = None
    overlap: int | None = None
    search: Asked = "auto"
    approximate_from: int = APPROXIMATE_FROM


def make_index(
    target: Path,
    request: IndexRequest,
    *,
    replace_old: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Index files and folders.

    Args:
        target: The index's folder; an unfinished one is finished.
        request: What and how.
        replace_old: Whether a finished index gives way.
        progress: Told of each stage.

    Raises:
        BundleError: If an index, or something else, is there already.
        InputError: If a source is missing, or no document has a text.
        UnavailableError: If the embedder cannot be reached.
        OutOfSpaceError: If the disk is too small; what was embedded is kept.
    """
    watcher = progress or Silent()
    _check_sources(request.sources)
    sources = _absolute(request.sources)
    documents = read_corpus([Path(text) for text in sources])  # named as updates will name them
    embedder = open_embedder(request.embedder, watcher.note)
    try:
        chunking = choose_chunking(embedder, request.chunk_tokens, request.overlap)
        options = BuildOptions(
            chunking=chunking.to_json(),
            search=request.search,
            approximate_from=request.approximate_from,
            spec=request.embedder.to_json(),
            sources=sources,
            parts=PARTS,
        )
        return build_index(
            target, documents, embedder, chunking.splitter(embedder),
            options=options, replace=replace_old, progress=watcher,
        )  # fmt: skip
    finally:
        embedder.close()


def renew_index(
    target: Path,
    sources: Sequence[Path] = (),
    *,
    add: bool = False,
    embedder: str | None = None,
    adapter: str | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Bring an index up to date with its sources; only what changed is embedded.

    Args:
        target: The index's folder.
        sources: The whole collection from now on; none takes those that the index remembers.
        add: Whether those that it remembers stay sources too.
        embedder: Where the index's embedder is now, if it moved.
        adapter: Where its adapter is now, if it moved.
        progress: Told of each stage.

    Raises:
        InputError: If there is no index, a source is missing, another embedder made the index,
            or no document would be left.
        UnavailableError: If the embedder cannot be reached.
        OutOfSpaceError: If the disk is too small; what was embedded is kept.
    """
    watcher = progress or Silent()
    info = read_info(target)
    _check_sources(sources)
    chosen = [Path(text) for text in _chosen(info, sources, add)]
    _check_remembered(chosen)
    spec = name_stored(spec_from_json(info.spec), embedder, adapter)
    opened = open_embedder(spec, watcher.note)
    try:
        chunking = choose_chunking(opened, stored=info.chunking)
        options = replace(
            options_of(info),
            chunking=chunking.to_json(),
            spec=spec.to_json(),
            sources=_absolute(chosen),
            parts=PARTS,
        )
        reader: Reader = lambda known: read_corpus(chosen, known=known)  # noqa: E731
        return update_index(
            target, reader, opened, chunking.splitter(opened), options=options, progress=watcher
        )
    finally:
        opened.close()


def _chosen(info: IndexInfo, sources: Sequence[Path], add: bool) -> list[str]:
    """Return the collection's sources from now on."""
    given = list(_absolute(sources))
    if add or not given:
        given = [*info.sources, *(source for source in given if source not in info.sources)]
    if not given:
        raise InputError(
            "The index does not say where its documents come from. Name their files and folders: "
            "loragraft rag update INDEX SOURCE…"
        )
    return given


def _check_remembered(sources: Sequence[Path]) -> None:
    """Look for the sources that an index remembers: a disk that is away empties no index.

    Raises:
        InputError: If one does not exist any more.
    """
    gone = [source for source in sources if not os.path.lexists(source)]
    if gone:
        raise InputError(
            f"{shown(gone[0])}, which the index was made of, does not exist any more"
            f"{f' (nor do {len(gone) - 1} more of its sources)' if len(gone) > 1 else ''}. Bring "
            "it back, or name every source that the index has from now on: loragraft rag update "
            "INDEX SOURCE…"
        )


def _absolute(sources: Sequence[Path]) -> tuple[str, ...]:
    """Return paths that mean the same from every folder."""
    return tuple(str(Path(os.path.abspath(source))) for source in sources)


def _check_sources(sources: Sequence[Path]) -> None:
    """Look for the sources, before anything is made or loaded.

    Raises:
        InputError: If one does not exist.
    """
    next(find_documents(sources), None)
