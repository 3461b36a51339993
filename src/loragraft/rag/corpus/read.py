"""Sources to documents, one after the other; what cannot be read is reported and left out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragraft.errors import InputError
from loragraft.rag.corpus.extracted import Extracted
from loragraft.rag.corpus.find import Found, find_documents, shown
from loragraft.rag.corpus.limits import MIB, Limits
from loragraft.rag.corpus.records import Record, read_records
from loragraft.rag.corpus.worker import Worker
from loragraft.rag.records import Document, Skipped, page_starts

READER = "1"
"""Version of what is made of a file; another one has every file read again."""

FILE_SHA256 = "file_sha256"
"""Key of a document's metadata: hash of its file and of :data:`READER`. What did not change need
not be read again."""

SOURCE = "source"
"""Key of a document's metadata: its file, by the same name as in ids."""

_BLOCK = MIB


@dataclass(frozen=True)
class Unchanged:
    """A document whose file is as it was."""

    doc_id: str


def read_corpus(
    sources: Sequence[Path],
    limits: Limits | None = None,
    *,
    known: Callable[[str], str | None] | None = None,
) -> Iterator[Document | Skipped | Unchanged]:
    """Read documents, in a fixed order.

    HTML, Markdown and PDF are read in a process of their own, bounded in time and memory: no file
    can take this one down.

    Args:
        sources: Files and folders.
        limits: What is too much.
        known: Gives the :data:`FILE_SHA256` of a document that is there already, by its id. Where
            it is still the same, an :class:`Unchanged` comes instead of the document. Records of
            JSON lines always come as documents; their own hash tells.

    Yields:
        Documents with unique ids; :class:`Skipped` for whatever could not be read.

    Raises:
        InputError: If a source does not exist.
        UnavailableError: If the reading process cannot be started at all.
    """
    limits = limits or Limits()
    ids: dict[str, str] = {}
    with Worker(limits) as worker:
        for found in find_documents([Path(source) for source in sources]):
            if isinstance(found, Skipped):
                yield found
                continue
            for place, item in _read(found, worker, limits, known):
                yield item if isinstance(item, Skipped) else _unique(item, ids, place)


def _unique(
    item: Document | Unchanged, ids: dict[str, str], place: str
) -> Document | Unchanged | Skipped:
    first = ids.setdefault(item.doc_id, place)
    if first == place:
        return item
    return Skipped(place, f"has the id {item.doc_id!r}, as {first} has: give it another")


def _read(
    found: Found, worker: Worker, limits: Limits, known: Callable[[str], str | None] | None
) -> Iterator[tuple[str, Document | Skipped | Unchanged]]:
    """Yield what one file holds and where; whatever is wrong with it ends up in words."""
    here = shown(found.path)
    try:
        if found.kind == "records":
            for item in read_records(found.path, limits):
                if isinstance(item, Skipped):
                    yield item.source, item
                else:
                    place = f"{here}, line {item.line}"
                    yield place, _record(item, found, place, worker, limits)
            return
        digest = _digest(found, limits)
        if known is not None and known(found.doc_id) == digest:
            yield here, Unchanged(found.doc_id)
            return
        extracted = worker.extract({"kind": found.kind, "path": str(found.path)})
        about = {**extracted.metadata, SOURCE: found.doc_id, FILE_SHA256: digest}
        fallback = re.sub(r"[_\-\s]+", " ", Path(found.doc_id).stem).strip()
        yield here, make_document(found.doc_id, fallback, extracted, about, limits)
    except InputError as error:
        yield here, Skipped(here, str(error))
    except OSError as error:
        yield here, Skipped(here, f"cannot be read: {error.strerror or error}")


def _record(
    record: Record, found: Found, place: str, worker: Worker, limits: Limits
) -> Document | Skipped:
    try:
        if record.format == "text":
            extracted = Extracted(record.title, record.text)
        else:
            extracted = worker.extract({"kind": record.format, "text": record.text})
        about = {**extracted.metadata, **record.metadata, SOURCE: found.doc_id}
        title = record.title or extracted.title
        return make_document(
            record.doc_id, record.doc_id, extracted._replace(title=title), about, limits
        )
    except InputError as error:
        return Skipped(place, str(error))


def make_document(
    doc_id: str, fallback: str, extracted: Extracted, metadata: dict[str, Any], limits: Limits
) -> Document:
    """Make a document of what a reader found.

    Raises:
        InputError: If there is no text, or more of anything than the limits say.
    """
    if not extracted.text.strip():
        raise InputError("holds no text")
    if len(extracted.text) > limits.text_characters:
        raise InputError(
            f"holds {len(extracted.text):,} characters of text; up to "
            f"{limits.text_characters:,} are read: divide it"
        )
    lines = extracted.text.count("\n")
    if lines > limits.lines:
        raise InputError(
            f"holds {lines:,} lines of text; up to {limits.lines:,} are read: divide it, or leave "
            "it out if it is data"
        )
    about = json.dumps(metadata, sort_keys=True, allow_nan=False)
    if len(about) > limits.metadata_bytes + 8 * len(page_starts(metadata)):
        raise InputError(f"has {len(about):,} bytes of metadata: leave out what nobody filters by")
    title = extracted.title or fallback
    rows = [[h.level, h.text, h.start, h.line] for h in extracted.headings]
    content = json.dumps([title, extracted.text, rows, about])
    digest = hashlib.sha256(content.encode("ascii")).hexdigest()
    return Document(doc_id, title, extracted.text, metadata, extracted.headings, digest)


def _digest(found: Found, limits: Limits) -> str:
    """Hash a file, which must be a regular one within its limit, however it changes meanwhile."""
    most = limits.pdf_bytes if found.kind == "pdf" else limits.file_bytes
    digest, size = hashlib.sha256(f"reader {READER} {found.kind}\n".encode()), 0
    # Not blocking: the file may have become a pipe since it was found.
    handle = os.open(
        found.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError("is no regular file (a device, a pipe or a socket): copy it")
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
            if size > most:
                raise InputError(
                    f"is larger than {most // MIB} MiB, most for a file of its kind: divide it, "
                    "or leave it out"
                )
    if not size:
        raise InputError("is empty")
    return digest.hexdigest()
