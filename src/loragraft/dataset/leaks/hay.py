"""Texts that may hold what is tested: files that are trained on, and a corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loragraft.artifact.jsonl import open_lines, read_jsonl
from loragraft.dataset.leaks.sides import everything
from loragraft.errors import InputError
from loragraft.rag.corpus.read import read_corpus
from loragraft.rag.records import Document, Skipped

WINDOW, OVERLAP = 200_000, 20_000
"""Characters that are looked through at a time, and how many of them twice: a text of up to so many
is found wherever it stands."""
_READ = 1 << 20
_LINES = (".jsonl", ".ndjson")
_PLAIN = (".txt", ".text", ".log", "")


class Piece(NamedTuple):
    """Some text of a source.

    Attributes:
        where: The file, or "corpus".
        id: Of the document; or which line or character of the file it begins at.
        text: What is there.
    """

    where: str
    id: str
    text: str


def training_pieces(paths: Sequence[Path], unread: list[str]) -> Iterator[Piece]:
    """Yield what files and folders hold that are trained on.

    JSON lines may be of any make: every text in them counts. Plain text may be of any length.

    Args:
        paths: Of the files and folders.
        unread: Takes what could not be read, as sentences.

    Raises:
        InputError: If one does not exist, or cannot be read at all.
    """
    for path in paths:
        suffix = path.suffix.lower()
        if suffix in _LINES and not path.is_dir():
            for line in read_jsonl(path):
                text = "\n".join(everything(line.values))
                yield from _windows(path.name, f"line {line.number}", text)
        elif suffix in _PLAIN and not path.is_dir():
            yield from _plain(path)
        else:
            for document in documents([path], unread):
                text = f"{document.title}\n{document.text}"
                yield from _windows(path.name, document.doc_id, text)


def document_pieces(document: Document) -> Iterator[Piece]:
    """Yield a document's title and text."""
    text = document.text
    if document.title and document.title != document.doc_id:
        text = f"{document.title}\n{text}"
    yield from _windows("corpus", document.doc_id, text)


def documents(paths: Sequence[Path], unread: list[str]) -> Iterator[Document]:
    """Yield the documents of files and folders.

    Raises:
        InputError: If a source does not exist, or there is no document at all.
    """
    count = 0
    for item in read_corpus(list(paths)):
        if isinstance(item, Skipped):
            unread.append(f"{item.source} was left out: it {item.reason.rstrip('.')}.")
        elif isinstance(item, Document):
            count += 1
            yield item
    if not count:
        reasons = f" {unread[-1]}" if unread else ""
        raise InputError(
            f"{', '.join(str(path) for path in paths)} holds no document that can be read; "
            f"expected text, Markdown, HTML, PDF, or JSON lines with doc_id and text.{reasons}"
        )


def _windows(where: str, name: str, text: str) -> Iterator[Piece]:
    for first in range(0, max(len(text) - OVERLAP, 1), WINDOW - OVERLAP):
        yield Piece(where, name, text[first : first + WINDOW])


def _plain(path: Path) -> Iterator[Piece]:
    with open_lines(path) as file:
        kept, position = b"", 0
        while block := file.read(_READ):
            text = (kept + block).decode("utf-8", "replace")
            yield from _windows(path.name, f"byte {position - len(kept):,}", text)
            position += len(block)
            kept = (kept + block)[-OVERLAP:]
