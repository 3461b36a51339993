"""Lines of pages, made into running text."""

from __future__ import annotations

import re
from collections import Counter

_EDGE = 2
"""Lines at the top and bottom of a page that may be a running header or footer."""

_LEAST_PAGES = 4
_REPEATED = 0.5
"""Share of the pages on which such a line must stand to be one; title pages have none, and books
alternate between two."""

_PAGE_NUMBER = re.compile(
    r"\W*(?:page|seite|p\.)?\s*(?:\d{1,5}|[ivxlc]{1,7})\s*(?:(?:of|von|/)\s*\d{1,5})?\W*", re.I
)
_LONGEST_NUMBER = 40
"""Characters of a line that is only a page's number, with dashes around it perhaps."""

_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u2010]\n(?=[^\W\d_])(?!\n)")
_ENDS = re.compile(r"[.!?:;…\"”»)]\s*\Z")
_LIGATURES = str.maketrans(
    {
        "\ufb00": "ff",
        "\ufb01": "fi",
        "\ufb02": "fl",
        "\ufb03": "ffi",
        "\ufb04": "ffl",
        "\ufb05": "st",
        "\ufb06": "st",
    }
)


def clean_pages(pages: list[str]) -> list[str]:
    """Return pages without running headers, footers and page numbers, words put together again."""
    lines = [_without_blank_edges([line.strip() for line in page.split("\n")]) for page in pages]
    repeated = _repeated(lines)
    # On the first page, what is repeated later may be the title itself.
    shapes = [frozenset[str](), *[repeated] * (len(lines) - 1)]
    edged = [_without_edges(page, known) for page, known in zip(lines, shapes, strict=True)]
    return [_joined(page) for page in edged]


def _without_blank_edges(page: list[str]) -> list[str]:
    while page and not page[0]:
        page = page[1:]
    while page and not page[-1]:
        page = page[:-1]
    return page


def _shape(line: str) -> str:
    """Return a line as it looks on every page: numbers differ, the rest does not."""
    return re.sub(r"\d+", "#", " ".join(line.split()).lower())


def _repeated(pages: list[list[str]]) -> frozenset[str]:
    if len(pages) < _LEAST_PAGES:
        return frozenset()
    counted: Counter[str] = Counter()
    for page in pages:
        counted.update({_shape(line) for line in (*page[:_EDGE], *page[-_EDGE:]) if line})
    least = max(_LEAST_PAGES - 1, int(_REPEATED * sum(1 for page in pages if page) * 0.8))
    return frozenset(shape for shape, count in counted.items() if count >= least)


def _without_edges(page: list[str], repeated: frozenset[str]) -> list[str]:
    for _ in range(_EDGE):
        if page and _is_edge(page[0], repeated):
            page = page[1:]
        if page and _is_edge(page[-1], repeated):
            page = page[:-1]
    return page


def _is_edge(line: str, repeated: frozenset[str]) -> bool:
    if _shape(line) in repeated:
        return True
    return len(line) <= _LONGEST_NUMBER and _PAGE_NUMBER.fullmatch(line) is not None


def _joined(lines: list[str]) -> str:
    text = "\n".join(lines).translate(_LIGATURES)
    return _HYPHEN.sub(_hyphen, text)


def _hyphen(found: re.Match[str]) -> str:
    """Join a word that was hyphenated; a hyphen before a capital is its own (Mann-Whitney)."""
    following = found.string[found.end()]
    return "" if following.islower() else "-"


def join_pages(pages: list[str]) -> tuple[str, list[int]]:
    """Return the pages as one text, and where each begins.

    A paragraph that goes on over a page break stays one.
    """
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for page in pages:
        if length and page:
            gap = "\n\n" if _ENDS.search(parts[-1]) else "\n"
            parts.append(gap)
            length += len(gap)
        starts.append(length)
        if page:
            parts.append(page)
            length += len(page)
    return "".join(parts), starts


def find_line(text: str, title: str, start: int, stop: int) -> tuple[int, int] | None:
    """Return the span of the line (or two) that a bookmark's title stands in, numbered or not."""
    words = [re.escape(word) for word in title.split()]
    pattern = r"^[ \t]*(?:[\dA-Z]{1,3}(?:\.\d+)*\.?\s+)?" + r"\s+".join(words) + r"[ \t]*$\n?"
    try:
        found = re.compile(pattern, re.MULTILINE | re.IGNORECASE).search(text, start, stop)
    except re.error:
        return None
    return None if found is None else found.span()
