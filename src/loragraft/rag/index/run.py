"""One run of a writer, from reading the collection to the new state of the index."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

import loragraft
from loragraft.artifact.progress import Progress
from loragraft.artifact.space import available_memory, require_disk
from loragraft.embedding.protocol import Embedder
from loragraft.errors import InputError
from loragraft.rag.chunking.chunk import embedded_text
from loragraft.rag.corpus.read import FILE_SHA256, SOURCE
from loragraft.rag.index import approximate
from loragraft.rag.index.chunk_store import ChunkStore
from loragraft.rag.index.dense import FLOAT_BYTES, ExactVectors, Rows, write_exact, write_index
from loragraft.rag.index.draft import Draft
from loragraft.rag.index.filling import Filling, embed_pending, filled_blocks, plan_filling
from loragraft.rag.index.kept import KeptVectors
from loragraft.rag.index.layout import (
    CHUNKS,
    SEARCH,
    VECTORS,
    FileInfo,
    IndexInfo,
    SearchInfo,
    file_name,
)
from loragraft.rag.index.options import (
    BuildOptions,
    BuildReport,
    Known,
    PartWriter,
    Reader,
    Source,
    Split,
)
from loragraft.rag.index.scan import Scan, scan
from loragraft.rag.index.store import missing_file
from loragraft.rag.index.writing import (
    adopt,
    commit,
    current,
    forget_work,
    last_generation,
    tidy,
    write_part,
)

_DRAFT_NAME = "chunks.sqlite"
_KEPT_NAME = "vectors.kept"
_PART = re.compile(r"(?!(chunks|vectors|search)$)[a-z][a-z_]{0,30}")
_SPARE_BYTES = 16 << 20
"""Room for index.json, pages of SQLite, and what other programs write meanwhile."""


@dataclass(frozen=True)
class _Old:
    """The state that a run begins with."""

    info: IndexInfo
    store: ChunkStore
    vectors: ExactVectors


class Run:
    """One run of a writer; the lock is held."""

    def __init__(
        self,
        target: Path,
        work: Path,
        embedder: Embedder,
        options: BuildOptions,
        progress: Progress,
        *,
        split_again: bool = False,
    ) -> None:
        """Prepare a run.

        Args:
            target: The index's folder.
            work: Where unfinished work lies.
            embedder: Turns chunks into vectors.
            options: How.
            progress: Told of each stage.
            split_again: Whether unchanged documents are split again too.

        Raises:
            InputError: If a part of the index cannot be called so.
        """
        self.target, self.work, self.embedder = target, work, embedder
        self.options, self.progress = options, progress
        self._split_again = split_again
        self._start = time.monotonic()
        for name in options.parts:
            if _PART.fullmatch(name) is None:
                raise InputError(f"{name!r} cannot name a part of an index; use a-z and _.")

    def go(self, documents: Source | Reader, split: Split, info: IndexInfo | None) -> BuildReport:
        """Do all of it.

        Args:
            documents: The whole collection, or what reads it.
            split: Makes chunks.
            info: The old state, where the run begins with one.
        """
        try:
            with ExitStack() as stack:
                self._tidy()
                old = self._open(info, stack)
                found = self._scan(documents, split, old, stack)
                if found.draft is None:
                    assert old is not None
                    forget_work(self.target)
                    return self._report(old.info, found, None)
                return self._commit(found, found.draft, old, stack)
        finally:
            self.progress.end()

    def _tidy(self) -> None:
        try:
            info = current(self.target)
        except InputError:  # damaged, or another loragraft's: it stays until there is a new one
            return
        # Where what it names is not there, something else here may be what it should have named.
        if info is None or all((self.target / file.name).is_file() for file in info.all_files):
            tidy(self.target, info)

    def _open(self, info: IndexInfo | None, stack: ExitStack) -> _Old | None:
        if info is None:
            return None
        try:
            store = stack.enter_context(ChunkStore(self.target / info.files[CHUNKS].name))
            path = self.target / info.files[VECTORS].name
            vectors = ExactVectors(path, info.dimensions)
        except FileNotFoundError as error:
            raise missing_file(self.target, error) from None
        found, wanted = (*store.counts(), len(vectors)), (info.documents, info.chunks, info.chunks)
        if found != wanted:
            raise InputError(
                "{} holds {} documents, {} chunks and {} vectors; {}, {} and {} were expected. It "
                "is damaged: build it again with loragraft rag index --replace.".format(
                    self.target, *found, *wanted
                )
            )
        return _Old(info, store, vectors)

    def _scan(
        self, documents: Source | Reader, split: Split, old: _Old | None, stack: ExitStack
    ) -> Scan:
        def make_draft() -> Draft:
            path, rows = (None, 0) if old is None else (old.store.path, old.info.chunks)
            if path is not None:
                require_disk(self.work, path.stat().st_size, "The new state of the index")
            draft = Draft(self.work / _DRAFT_NAME, path, rows)
            stack.callback(draft.discard)
            return draft

        hashes = {} if old is None else old.store.hashes()
        source = documents(self._known(old)) if callable(documents) else documents
        found = scan(
            source, split, hashes, make_draft, self.progress, split_again=self._split_again
        )
        skipped = [] if old is None else old.store.skipped()
        if found.draft is None and (
            old is None
            or found.skipped != skipped
            or self._missing(old.info.parts)
            or not self._searches_as(old.info.search)
        ):
            found.draft = make_draft()
        return found

    def _known(self, old: _Old | None) -> Known:
        """Return what says which files need not be read again."""
        if old is None or self._split_again:
            return lambda _doc_id: None
        hashes = {
            document.doc_id: str(document.metadata[FILE_SHA256])
            for document in old.store.documents()
            # A record may claim anything, the id of a file among it, but not its own source.
            if FILE_SHA256 in document.metadata and document.metadata.get(SOURCE) == document.doc_id
        }
        return hashes.get

    def _commit(self, found: Scan, draft: Draft, old: _Old | None, stack: ExitStack) -> BuildReport:
        draft.set_skipped(found.skipped)
        source = draft.settle()
        documents, chunks = draft.counts()
        self._require_text(documents, chunks, found, old)
        draft.finish()
        draft.close()
        store = ChunkStore(draft.path)
        stack.callback(store.close)
        key = json.dumps(dict(self.embedder.identity), sort_keys=True)
        kept = stack.enter_context(KeptVectors(self.work / _KEPT_NAME, key))
        filling = plan_filling(store, source, None if old is None else old.store, kept)
        self._require_room(filling, self._width(kept, old))
        embed_pending(filling, store, kept, self.embedder, embedded_text, self.progress)
        info = self._write(filling, kept, source, draft.path, store.close, old)
        info = replace(info, documents=documents, chunks=chunks, skipped=len(found.skipped))
        commit(self.target, info)
        return self._report(info, found, filling)

    def _require_text(self, documents: int, chunks: int, found: Scan, old: _Old | None) -> None:
        """Refuse to make an empty index, or to empty one.

        Raises:
            InputError: Naming why there is nothing.
        """
        if chunks:
            return
        why = f"{len(found.skipped)} could not be read" if found.skipped else "none was found"
        if documents:
            why = f"{documents} hold no text"
        reason = f" ({found.skipped[0].source}: {found.skipped[0].reason})" if found.skipped else ""
        kept = "" if old is None else " The index stays as it was."
        raise InputError(
            f"There is no document to index: {why}{reason}.{kept} Give folders or files with "
            ".md, .txt, .html, .pdf or .jsonl."
        )

    def _width(self, kept: KeptVectors, old: _Old | None) -> int:
        if old is not None:
            return old.info.dimensions
        return kept.dimensions or self.embedder.dimensions

    def _require_room(self, filling: Filling, width: int) -> None:
        vectors = len(filling.source) * width * FLOAT_BYTES
        fresh = len(filling.pending) * width * FLOAT_BYTES
        require_disk(self.work, vectors + fresh + _SPARE_BYTES, "The index")

    def _write(
        self, filling: Filling, kept: KeptVectors, source: Rows, store: Path,
        close_store: Callable[[], None], old: _Old | None,
    ) -> IndexInfo:  # fmt: skip
        """Write every file of the new state under its own name, without making it valid."""
        generation = last_generation(self.target) + 1
        files: dict[str, FileInfo] = {}
        parts: dict[str, tuple[FileInfo, ...]] = {}
        same_rows = old is not None and np.array_equal(source, np.arange(old.info.chunks))
        if old is not None and same_rows:
            files, parts = dict(old.info.files), dict(old.info.parts)
        else:
            files[VECTORS] = self._write_vectors(filling, kept, old, generation)
        if old is not None and same_rows and self._searches_as(old.info.search):
            search = old.info.search
        else:
            files.pop(SEARCH, None)
            exact = ExactVectors(self.target / files[VECTORS].name, self._width(kept, old))
            search = self._write_search(files, exact, source, old, generation)
        for name, write in self._missing(parts).items():
            self.progress.begin(f"Writing {name}", 0)
            parts[name] = write_part(self.target, name, generation, write, store)
        close_store()
        files[CHUNKS] = adopt(store, self.target, CHUNKS, generation)
        return self._info(generation, files, search, parts, old, kept)

    def _searches_as(self, search: SearchInfo) -> bool:
        asked = (self.options.search, self.options.approximate_from)
        return (search.asked, search.threshold) == asked

    def _missing(self, parts: Mapping[str, tuple[FileInfo, ...]]) -> dict[str, PartWriter]:
        """Return what writes the parts that are not there, or not whole."""
        lost = {
            name
            for name, files in parts.items()
            if not all(_has_size(self.target / file.name, file.bytes) for file in files)
        }
        asked = self.options.parts.items()
        return {name: write for name, write in asked if name not in parts or name in lost}

    def _write_vectors(
        self, filling: Filling, kept: KeptVectors, old: _Old | None, generation: int
    ) -> FileInfo:
        self.progress.begin("Writing vectors", 0)
        shape = (len(filling.source), self._width(kept, old))
        blocks = filled_blocks(filling, kept, None if old is None else old.vectors, shape[1])
        return write_exact(self.target, file_name(VECTORS, generation), shape, blocks)

    def _write_search(
        self,
        files: dict[str, FileInfo],
        exact: ExactVectors,
        source: Rows,
        old: _Old | None,
        generation: int,
    ) -> SearchInfo:
        """Build what searches faster than exact search, where the index is large enough."""
        asked, threshold = self.options.search, self.options.approximate_from
        plain = SearchInfo(asked=asked, threshold=threshold)
        kind = approximate.choose_kind(
            asked, len(exact), exact.dimensions, threshold, available_memory()
        )
        if kind == "exact":
            return plain
        self.progress.begin(f"Building {kind} search", 0)
        made = self._updated_search(kind, exact, source, old) or approximate.build(kind, exact)
        measured = made.measured()
        if measured is None:
            self.progress.note(
                f"{kind} finds less than {approximate.TARGET_RECALL:.0%} of the nearest chunks: "
                "search stays exact."
            )
            return plain
        files[SEARCH] = write_index(made.index, self.target, file_name(SEARCH, generation))
        return replace(measured, asked=asked, threshold=threshold)

    def _updated_search(
        self, kind: str, exact: ExactVectors, source: Rows, old: _Old | None
    ) -> approximate.Approximate | None:
        if old is None or old.info.search.kind != kind or SEARCH not in old.info.files:
            return None
        path = self.target / old.info.files[SEARCH].name
        try:
            return approximate.updated(path, old.info.search, exact, source, old.info.chunks)
        except (InputError, FileNotFoundError):  # damaged: built again
            return None

    def _info(
        self,
        generation: int,
        files: dict[str, FileInfo],
        search: SearchInfo,
        parts: dict[str, tuple[FileInfo, ...]],
        old: _Old | None,
        kept: KeptVectors,
    ) -> IndexInfo:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return IndexInfo(
            generation=generation,
            created=now if old is None else old.info.created,
            updated=now,
            version=loragraft.__version__,
            embedder=self.embedder.name,
            identity=dict(self.embedder.identity),
            spec=dict(self.options.spec),
            dimensions=self._width(kept, old),
            chunking=dict(self.options.chunking),
            documents=0,
            chunks=0,
            skipped=0,
            sources=self.options.sources,
            search=search,
            files=files,
            parts=parts,
        )

    def _report(self, info: IndexInfo, found: Scan, filling: Filling | None) -> BuildReport:
        notes = []
        if found.empty:
            notes.append(f"{found.empty} documents hold no text")
        return BuildReport(
            index=self.target,
            generation=info.generation,
            committed=filling is not None,
            documents=info.documents,
            chunks=info.chunks,
            added=found.added,
            changed=found.changed,
            removed=found.removed,
            unchanged=found.unchanged,
            embedded=0 if filling is None else len(filling.pending),
            reused=0 if filling is None else filling.reused,
            skipped=tuple(found.skipped),
            search=info.search,
            seconds=round(time.monotonic() - self._start, 3),
            notes=tuple(notes),
        )


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
