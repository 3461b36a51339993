"""What an index consists of on the disk, and the one file that says which of it is valid.

```
INDEX/index.json              names all files below, their sizes and hashes: the commit
INDEX/chunks-000003.sqlite    documents, chunks, and what was skipped
INDEX/vectors-000003.faiss    all vectors, exact; row i belongs to the chunk of row i
INDEX/search-000003.faiss     an approximate index over the same rows, where there is one
INDEX/<part>-000003/          whatever else belongs to the index (lexical search)
INDEX/.work/                  what an unfinished run has done so far
INDEX/.lock                   held while somebody writes
```

No file changes once ``index.json`` names it. A new state is written beside the old one under the
next number, and valid from the moment at which the new ``index.json`` gets its name: whoever dies
before leaves the old state whole, whoever reads meanwhile keeps the files he has opened.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from loragraft.artifact.files import write_atomically
from loragraft.checkpoint.files import read_small
from loragraft.errors import InputError

FORMAT = 1
"""Counts up when an older loragraft could not read a newer index."""
INDEX_NAME = "index.json"
WORK_NAME = ".work"
LOCK_NAME = ".lock"
CHUNKS, VECTORS, SEARCH = "chunks", "vectors", "search"
Kind = Literal["exact", "hnsw", "ivf", "ivf-pq"]
Asked = Literal["auto", "exact", "hnsw", "ivf", "ivf-pq"]
KINDS: tuple[Asked, ...] = get_args(Asked)
_SUFFIXES = {CHUNKS: ".sqlite", VECTORS: ".faiss", SEARCH: ".faiss"}
_OURS = re.compile(r"[a-z][a-z_]{0,30}-[0-9]{6,12}(\.sqlite|\.faiss)?")
_INSIDE = re.compile(r"(?!\.\.?(/|$))[^/\\\x00]{1,200}(/(?!\.\.?(/|$))[^/\\\x00]{1,200}){0,3}")


@dataclass(frozen=True)
class FileInfo:
    """A file of an index.

    Attributes:
        name: Relative to the index.
        bytes: Its size.
        sha256: Of its content.
    """

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SearchInfo:
    """How vectors are searched.

    Attributes:
        kind: ``exact``, ``hnsw``, ``ivf`` or ``ivf-pq``.
        parameters: Of that kind, those of a query among them.
        recall: Share of the ten nearest chunks that it finds, measured against exact search.
        sample: How many chunks that was measured on.
        asked: What the user wants: one of them, or ``auto``.
        threshold: Chunks from which ``auto`` is approximate.
    """

    kind: Kind = "exact"
    parameters: Mapping[str, int] = field(default_factory=dict)
    recall: float | None = None
    sample: int = 0
    asked: Asked = "auto"
    threshold: int = 0


@dataclass(frozen=True)
class IndexInfo:
    """All that an index says about itself.

    Attributes:
        generation: Counts the states that were committed.
        created: When it was first built, UTC.
        updated: When this state was committed.
        version: Of loragraft, when it was.
        embedder: What a person calls the embedder.
        identity: What makes it the same embedder.
        spec: How to open it again.
        dimensions: Of a vector.
        chunking: How documents were split.
        documents: How many.
        chunks: How many.
        skipped: How many sources could not be read.
        sources: Where documents came from, as they were given.
        search: How vectors are searched.
        files: By role.
        parts: Files of whatever else belongs to the index, by its name.
    """

    generation: int
    created: str
    updated: str
    version: str
    embedder: str
    identity: Mapping[str, str]
    spec: Mapping[str, Any]
    dimensions: int
    chunking: Mapping[str, Any]
    documents: int
    chunks: int
    skipped: int
    sources: tuple[str, ...]
    search: SearchInfo
    files: Mapping[str, FileInfo]
    parts: Mapping[str, tuple[FileInfo, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"format": FORMAT, **asdict(self)}

    @property
    def all_files(self) -> tuple[FileInfo, ...]:
        """Every file that belongs to this state."""
        return (*self.files.values(), *(file for part in self.parts.values() for file in part))


def file_name(role: str, generation: int) -> str:
    """Return what a file, or the folder of a part, is called in one generation."""
    return f"{role}-{generation:06d}{_SUFFIXES.get(role, '')}"


def is_ours(name: str) -> bool:
    """Whether a name in an index's folder is one that an index gives."""
    return _OURS.fullmatch(name) is not None


def write_info(folder: Path, info: IndexInfo) -> None:
    """Commit a state: everything that it names is on the disk already.

    Raises:
        OutOfSpaceError: If the disk is full; the old state stays.
    """
    text = json.dumps(info.to_json(), indent=2) + "\n"  # escaped: paths may be no Unicode
    write_atomically(folder / INDEX_NAME, text.encode())


def read_info(folder: Path) -> IndexInfo:
    """Read what an index says about itself.

    Raises:
        InputError: If there is no index, an unfinished or damaged one, or one of another format.
    """
    path = folder / INDEX_NAME
    try:
        value = json.loads(read_small(path))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(_nothing_there(folder)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, f"cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise _damaged(folder, "is no JSON object")
    found = value.pop("format", None)
    if found != FORMAT:
        raise InputError(
            f"{folder} is an index of format {repr(found)[:40]}; this loragraft reads format "
            f"{FORMAT}. Build it again with loragraft rag index --replace, or use "
            "the loragraft that made it."
        )
    try:
        info = _parse(value)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(folder, f"has a field missing or of the wrong kind: {error}") from None
    for file in info.all_files:
        if _INSIDE.fullmatch(file.name) is None:
            raise _damaged(folder, f"names the file {file.name[:80]!r}")
    return info


def _nothing_there(folder: Path) -> str:
    if not folder.exists():
        return f"There is no index {folder}. Build one with loragraft rag index SOURCE -o {folder}."
    if not folder.is_dir():
        return f"{folder} is no folder; an index is one. Give the folder that holds index.json."
    if (folder / WORK_NAME).is_dir():
        return (
            f"The index {folder} was never finished. Run the same loragraft rag index command "
            "again: what is embedded already is kept."
        )
    return f"{folder} holds no {INDEX_NAME}: it is no index. Build one with loragraft rag index."


def _damaged(folder: Path, problem: str) -> InputError:
    return InputError(
        f"{folder / INDEX_NAME} {problem}. The index is damaged: build it again with loragraft "
        "rag index --replace."
    )


def _parse(value: dict[str, Any]) -> IndexInfo:
    search = _parse_search(value["search"])
    files = {str(role): FileInfo(**file) for role, file in value["files"].items()}
    parts = {str(n): tuple(FileInfo(**f) for f in part) for n, part in value["parts"].items()}
    info = IndexInfo(**{**value, "search": search, "files": files, "parts": parts})
    for count in (info.generation, info.dimensions, info.documents, info.chunks, info.skipped):
        if type(count) is not int or count < 0:
            raise ValueError(f"{count!r} is no number of things")
    if not info.chunks or not info.dimensions:
        raise ValueError("it holds nothing")
    for file in info.all_files:
        if type(file.name) is not str or type(file.bytes) is not int or len(file.sha256) != 64:
            raise ValueError(f"{file!r} describes no file")
    for role in (CHUNKS, VECTORS):
        if role not in files:
            raise KeyError(role)
    if not all(isinstance(part, dict) for part in (info.spec, info.chunking)):
        raise TypeError("how documents were cut and embedded are no JSON objects")
    texts = (info.created, info.updated, info.version, info.embedder, *info.sources)
    for text in (*texts, *(file.name for file in info.all_files)):
        if type(text) is not str:
            raise TypeError(f"{text!r} is no text")
        os.fsencode(text)  # raises ValueError where it cannot name a file
    identity = {str(k): str(v) for k, v in info.identity.items()}
    return IndexInfo(**{**vars(info), "identity": identity, "sources": tuple(info.sources)})


def _parse_search(value: dict[str, Any]) -> SearchInfo:
    search = SearchInfo(**value)
    if search.kind not in get_args(Kind) or search.asked not in KINDS:
        raise ValueError(f"search of the kind {search.kind!r}, asked for {search.asked!r}")
    if search.recall is not None and not isinstance(search.recall, int | float):
        raise ValueError(f"{search.recall!r} is no recall")
    numbers = (search.sample, search.threshold, *search.parameters.values())
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"{search!r} is no way of searching")
    return search
