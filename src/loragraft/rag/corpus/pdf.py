"""PDF to plain text: pages in order, running headers gone, bookmarks as headings."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from loragraft.errors import InputError
from loragraft.rag.corpus.extracted import Extracted, as_title, tidy, tidy_line
from loragraft.rag.corpus.limits import Limits
from loragraft.rag.corpus.pdf_pages import clean_pages, find_line, join_pages
from loragraft.rag.records import PAGE_STARTS, Heading

if TYPE_CHECKING:
    from pypdf import PdfReader

UNREAD_PAGES = "unread_pages"
"""Key of the metadata: numbers of the pages that could not be read."""

_LEAST_PER_PAGE = 8
"""Characters a page, on average, below which a PDF holds pictures of text rather than text."""

_MOST_UNREADABLE = 0.3
"""Share of characters without a meaning (private use, replacement, "(cid:7)") from which the text
is noise: its fonts do not say which letters they show."""

_NOISE = re.compile(r"[\ue000-\uf8ff\ufffd\U000f0000-\U0010ffff]|\(cid:\d+\)|/[A-Z]?\d{2,}\b")
_MOST_BOOKMARKS = 5_000
_DEEPEST = 6
_NO_TITLES = re.compile(r"untitled|microsoft word|powerpoint|\.(?:docx?|tex|dvi|indd|pdf)\b", re.I)


def extract_pdf(path: str, limits: Limits) -> Extracted:
    """Return the text of a PDF.

    Raises:
        InputError: If it is broken, encrypted, too long or has no text.
        MemoryError: If it unpacks to more than there is room for.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = _open(path, limits)
    pages, unread = _pages(reader)
    _check_text(pages, unread)
    pages = clean_pages(pages)
    text, starts = join_pages(pages)
    metadata: dict[str, Any] = {PAGE_STARTS: starts}
    if unread:
        metadata[UNREAD_PAGES] = unread
    headings = _headings(reader, text, starts, limits)
    return Extracted(_title(reader), text, headings, metadata)


def _open(path: str, limits: Limits) -> PdfReader:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    try:
        reader = PdfReader(path, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise InputError("is encrypted with a password: save a copy without one")
        count = len(reader.pages)
    except (InputError, MemoryError, RecursionError):
        raise
    except DependencyError:
        raise InputError(
            "is encrypted with AES: save a copy that is not, or install the package cryptography"
        ) from None
    except Exception as error:  # whatever the parser makes of hostile bytes
        raise InputError(f"is no PDF that can be read ({_said(error)}): save it again") from None
    if not count:
        raise InputError("is a PDF without pages")
    if count > limits.pages:
        raise InputError(f"has {count:,} pages; up to {limits.pages:,} are read: divide it")
    return reader


def _said(error: Exception) -> str:
    return tidy_line(str(error))[:160] or type(error).__name__


def _pages(reader: PdfReader) -> tuple[list[str], list[int]]:
    """Return every page's text, and the numbers of those that could not be read."""
    texts: list[str] = []
    unread: list[int] = []
    last: Exception | None = None
    for number in range(len(reader.pages)):
        try:
            texts.append(tidy(reader.pages[number].extract_text() or ""))
        except MemoryError:
            raise
        except Exception as error:  # one page is no reason to lose the others
            texts.append("")
            unread.append(number + 1)
            last = error
    if last is not None and len(unread) == len(texts):
        raise InputError(f"has no page that can be read ({_said(last)}): save it again")
    return texts, unread


def _check_text(pages: list[str], unread: list[int]) -> None:
    whole = "".join(pages)
    characters = len("".join(whole.split()))
    if characters < _LEAST_PER_PAGE * (len(pages) - len(unread)):
        raise InputError(
            f"has {characters} characters of text on {len(pages)} pages, so it holds pictures of "
            "text: run it through OCR first (for instance ocrmypdf)"
        )
    noise = sum(len(found) for found in _NOISE.findall(whole))
    if noise > _MOST_UNREADABLE * characters:
        raise InputError(
            "has fonts that do not say which letters they show, so its text is noise: run it "
            "through OCR (for instance ocrmypdf --force-ocr)"
        )


def _title(reader: PdfReader) -> str:
    try:
        title = reader.metadata.title if reader.metadata else None
    except Exception:  # a title is not worth a document
        return ""
    title = as_title(str(title)) if title else ""
    return "" if len(title) < 4 or _NO_TITLES.search(title) else title


def _headings(
    reader: PdfReader, text: str, starts: list[int], limits: Limits
) -> tuple[Heading, ...]:
    """Return the bookmarks as headings, each at its line where its page has one."""
    try:
        marks = list(_bookmarks(reader, min(_MOST_BOOKMARKS, limits.headings)))
    except MemoryError:
        raise
    except Exception:  # bookmarks that point nowhere are common
        return ()
    found: list[Heading] = []
    at = 0
    for level, title, page in marks:
        if not 0 <= page < len(starts):
            continue
        begin = max(at, starts[page])
        stop = starts[page + 1] if page + 1 < len(starts) else len(text)
        line = find_line(text, title, begin, stop)
        if line is not None:
            found.append(Heading(level, title, line[1], line[0]))
            at = line[1]
        elif begin == starts[page]:
            found.append(Heading(level, title, begin))
    return tuple(found)


def _bookmarks(reader: PdfReader, most: int) -> Iterator[tuple[int, str, int]]:
    """Yield level, title and page of each bookmark, in the outline's order."""
    stack: list[tuple[int, Iterator[Any]]] = [(1, iter(reader.outline))]
    count = 0
    while stack and count < most:
        level, items = stack[-1]
        item = next(items, None)
        if item is None:
            stack.pop()
        elif isinstance(item, list):
            stack.append((min(level + 1, _DEEPEST), iter(item)))
        else:
            count += 1
            title = as_title(str(item.title or ""))
            page = reader.get_destination_page_number(item)
            if title and page is not None:
                yield level, title, page
