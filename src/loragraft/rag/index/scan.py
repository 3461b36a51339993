"""Go through a collection: what is new, changed, gone, or as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from loragraft.artifact.progress import Progress
from loragraft.errors import InputError
from loragraft.rag.corpus import Unchanged
from loragraft.rag.index.draft import Draft
from loragraft.rag.index.options import Source, Split
from loragraft.rag.records import Document, Skipped


@dataclass
class Scan:
    """What a collection is, compared with an old state.

    Attributes:
        draft: The new state; None where nothing changed.
        added: Documents that are new.
        changed: Documents that were split again.
        unchanged: Documents that were left alone.
        removed: Ids that came no longer.
        skipped: What could not be read, or not be stored.
        empty: Documents without a chunk.
    """

    draft: Draft | None = None
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: tuple[str, ...] = ()
    skipped: list[Skipped] = field(default_factory=list)
    empty: int = 0


def document_hash(document: Document) -> str:
    """Return what an update compares: the document's own hash, or one of all that it holds."""
    if document.sha256:
        return document.sha256
    headings = [(h.level, h.text, h.start) for h in document.headings]
    whole = [document.text, document.title, headings, dict(document.metadata)]
    text = json.dumps(whole, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def scan(
    documents: Source,
    split: Split,
    old: Mapping[str, str],
    make_draft: Callable[[], Draft],
    progress: Progress,
    *,
    split_again: bool = False,
) -> Scan:
    """Read a whole collection, and write what is new or changed into a draft.

    Args:
        documents: The whole collection.
        split: Makes chunks of a document.
        old: The hash of every document of the old state, by id.
        make_draft: Makes the draft, when the first change is found.
        progress: Told of each document.
        split_again: Whether unchanged documents are split again too.
    """
    found, seen = Scan(), set[str]()
    progress.begin("Reading and splitting", 0, "documents")
    for item in documents:
        if isinstance(item, Skipped):
            found.skipped.append(item)
        elif item.doc_id in seen:
            reason = "Another document has the same id. Give every record its own doc_id."
            found.skipped.append(Skipped(item.doc_id, reason))
        else:
            seen.add(item.doc_id)
            if isinstance(item, Unchanged):
                _leave(item, old, found)
            else:
                _take(item, split, old, make_draft, found, split_again)
        progress.advance(1)
    found.removed = tuple(sorted(old.keys() - seen))
    if found.removed:
        found.draft = found.draft or make_draft()
        for doc_id in found.removed:
            found.draft.remove(doc_id)
    return found


def _leave(item: Unchanged, old: Mapping[str, str], found: Scan) -> None:
    if item.doc_id not in old:
        raise ValueError(f"{item.doc_id!r} is said to be unchanged, but is not in the index")
    found.unchanged += 1


def _take(
    document: Document,
    split: Split,
    old: Mapping[str, str],
    make_draft: Callable[[], Draft],
    found: Scan,
    split_again: bool,
) -> None:
    sha256, known = document_hash(document), old.get(document.doc_id)
    if known == sha256 and not split_again:
        found.unchanged += 1
        return
    found.draft = found.draft or make_draft()
    chunks = split(document)
    try:
        found.draft.put(document, sha256, chunks)
    except InputError as error:
        found.skipped.append(Skipped(document.doc_id, f"{error}"))
        if known is not None:
            found.changed += 1
        return
    found.empty += not chunks
    if known is None:
        found.added += 1
    else:
        found.changed += 1
