"""Which files of the sources are documents, and what they are called."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from loragraft.errors import InputError
from loragraft.rag.records import Skipped

KINDS = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd"), "markdown"),
    **dict.fromkeys((".txt", ".text", ".rst"), "text"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    ".pdf": "pdf",
    **dict.fromkeys((".jsonl", ".ndjson"), "records"),
}
"""What a file is read as, by its suffix."""

_UNREAD = frozenset(
    (".doc", ".docx", ".odt", ".rtf", ".epub", ".ppt", ".pptx", ".odp", ".tex", ".mobi", ".djvu")
)
"""Suffixes of documents that are not read, which is worth saying."""

_FOLDERS_LEFT_OUT = frozenset(("node_modules", "__pycache__"))

_SPHINX_MARK = "objects.inv"
"""Lies at the top of what Sphinx, the usual maker of documentation, has built."""

_SPHINX_FOLDERS = frozenset(("_sources", "_static"))
_SPHINX_PAGES = re.compile(r"(?:genindex(?:-.+)?|search|py-modindex)\.html")
"""Beside such a mark: the same text once more, and lists of words that would answer every question
that has one of them."""


class Found(NamedTuple):
    """A file to read: where it is, what it is called in the index, and its kind."""

    path: Path
    doc_id: str
    kind: str


def find_documents(sources: Sequence[Path]) -> Iterator[Found | Skipped]:
    """Yield the files of sources in a fixed order, each once.

    A file's id is its path from the source's own name on (``docs/guide/install.md``), so that
    adding a source changes no id. Hidden files and folders are left out, and in what Sphinx has
    built the pages' sources and its indexes; links are followed, but nothing is visited twice.

    Raises:
        InputError: If a source does not exist.
    """
    missing = [source for source in sources if not os.path.lexists(source)]
    if missing:
        raise InputError(
            f"{shown(missing[0])} does not exist: give files, or folders of files, in Markdown, "
            "plain text, HTML, PDF or JSON lines."
        )
    seen: set[tuple[int, int]] = set()
    for source, name in zip(sources, _names(sources), strict=True):
        if source.is_dir():
            yield from _folder(source, name, seen)
        else:
            yield from _single(source, name, seen)


def shown(path: Path | str) -> str:
    """Return a path as one line of text that any terminal and database can hold."""
    raw = os.fsencode(path).decode("utf-8", "backslashreplace")
    text = unicodedata.normalize("NFC", raw)
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _names(sources: Sequence[Path]) -> list[str]:
    """Return a name for each source: as many of its last parts as tell it from the others."""
    parts = [Path(os.path.abspath(source)).parts for source in sources]
    for count in range(1, max((len(part) for part in parts), default=0) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            return [shown(name).lstrip("/") for name in names]
    return [shown("/".join(part)).lstrip("/") for part in parts]


def _single(path: Path, name: str, seen: set[tuple[int, int]]) -> Iterator[Found | Skipped]:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        yield Skipped(
            shown(path), f"is none of the kinds that are read ({', '.join(KINDS)}): convert it"
        )
    else:
        yield from _file(path, name, kind, seen)


def _folder(top: Path, name: str, seen: set[tuple[int, int]]) -> Iterator[Found | Skipped]:
    unread: Counter[str] = Counter()
    errors: list[OSError] = []
    for here, folders, files in os.walk(top, followlinks=True, onerror=errors.append):
        if not _first_time(here, seen):
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if f[0] != "." and f not in _FOLDERS_LEFT_OUT)
        inside = os.path.relpath(here, top)
        if _SPHINX_MARK in files:
            folders[:] = [folder for folder in folders if folder not in _SPHINX_FOLDERS]
            files = [file for file in files if not _SPHINX_PAGES.fullmatch(file)]
        for file in sorted(files):
            suffix = os.path.splitext(file)[1].lower()
            if file[0] == "." or suffix not in KINDS:
                unread[suffix] += suffix in _UNREAD and file[0] not in ".~"
                continue
            doc_id = "/".join(part for part in (name, _slashed(inside), shown(file)) if part)
            yield from _file(Path(here, file), doc_id, KINDS[suffix], seen)
        while errors:
            yield _unlisted(errors.pop())
    while errors:
        yield _unlisted(errors.pop())
    if counted := {suffix: count for suffix, count in sorted(unread.items()) if count}:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in counted.items())
        yield Skipped(
            shown(top), f"has documents of kinds that are not read ({kinds}): convert them"
        )


def _slashed(inside: str) -> str:
    return "" if inside == "." else shown(inside).replace(os.sep, "/")


def _unlisted(error: OSError) -> Skipped:
    return Skipped(shown(error.filename or "?"), f"cannot be listed: {error.strerror}")


def _first_time(path: str | Path, seen: set[tuple[int, int]]) -> bool:
    """Tell whether a file or folder, by whatever name, comes up for the first time."""
    try:
        status = os.stat(path)
    except OSError:
        return True  # whoever opens it says what is wrong
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return False
    if key != (0, 0):
        seen.add(key)
    return True


def _file(
    path: Path, doc_id: str, kind: str, seen: set[tuple[int, int]]
) -> Iterator[Found | Skipped]:
    try:
        status = path.stat()
    except OSError as error:
        yield Skipped(shown(path), f"cannot be read: {error.strerror}")
        return
    if not stat.S_ISREG(status.st_mode):
        yield Skipped(shown(path), "is no regular file (a device, a pipe or a socket): copy it")
    elif _first_time(path, seen):
        yield Found(path, doc_id, kind)
