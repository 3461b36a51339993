"""What building an index is asked for, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loragraft.rag.corpus import Unchanged
from loragraft.rag.index.approximate import APPROXIMATE_FROM
from loragraft.rag.index.layout import Asked, SearchInfo
from loragraft.rag.records import Chunk, Document, Skipped

Split = Callable[[Document], Sequence[Chunk]]
Source = Iterable[Document | Skipped | Unchanged]
Known = Callable[[str], str | None]
"""Gives the hash of the file that a document was read from, by its id; None where it has to be
read again."""
Reader = Callable[[Known], Source]
"""Reads a whole collection, files that did not change left out."""
PartWriter = Callable[[Path, Iterator[Chunk]], None]
"""Writes something that belongs to an index into an empty folder, from its chunks by row."""


@dataclass(frozen=True)
class BuildOptions:
    """How an index is built.

    Attributes:
        chunking: How documents are split, as JSON values: another one splits all of them again.
        search: How vectors are searched; ``auto`` goes by their number and the memory.
        approximate_from: Chunks from which ``auto`` is approximate.
        spec: How to open the embedder again, as JSON values.
        sources: Where the documents come from, for an update that does not name them.
        parts: What else belongs to the index, by a name of lower-case letters.
    """

    chunking: Mapping[str, Any] = field(default_factory=dict)
    search: Asked = "auto"
    approximate_from: int = APPROXIMATE_FROM
    spec: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    parts: Mapping[str, PartWriter] = field(default_factory=dict)


@dataclass(frozen=True)
class BuildReport:
    """What a build or an update has done.

    Attributes:
        index: The index's folder.
        generation: The state that is valid now.
        committed: Whether that is a new one; False where nothing had changed.
        documents: How many there are now.
        chunks: How many there are now.
        added: Documents that are new.
        changed: Documents that were split again.
        removed: Ids of documents that are gone.
        unchanged: Documents that were left alone.
        embedded: Texts that were embedded in this run.
        reused: New chunks whose vector was there already, from the old state, an unfinished run
            or a chunk of the same text.
        skipped: What could not be read.
        search: How vectors are searched.
        seconds: The run took.
        notes: What a person should know.
    """

    index: Path
    generation: int
    committed: bool
    documents: int
    chunks: int
    added: int
    changed: int
    removed: tuple[str, ...]
    unchanged: int
    embedded: int
    reused: int
    skipped: tuple[Skipped, ...]
    search: SearchInfo
    seconds: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "index": str(self.index)}
