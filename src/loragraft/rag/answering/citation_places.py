"""Where in an answer numbers are no citations: code, indices, exponents; and lists of sources."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})[^\n]*$", re.MULTILINE)
_INLINE = re.compile(r"(?<!`)(`{1,2})(?!`)([^\n]{1,400}?)(?<!`)\1(?!`)")
_LISTED = re.compile(
    r"\b(?:interval|range|between|return|list|array|vector|tuple|matrix|indices|index|domain|"
    r"coordinates|values?)\s*$",
    re.IGNORECASE,
)
"""Before several numbers that are a list; one alone may be a citation ("in this range [2]")."""
_ARRAY = re.compile(r"\b(?:array|list|vector|tuple|matrix|tensor)\s+\w$", re.IGNORECASE)
_EQUALS = re.compile(r"[=\u2208]\s*$")
_HEADER = re.compile(
    r"^[ \t>]*(?:#{1,6}\s*|\*\*|__)?(?:sources?|references?|citations?|bibliography|footnotes?|"
    r"notes|works cited|passages? (?:used|cited)|quellen|literatur|références|referencias|fuentes)"
    r"\s*:?\s*(?:\*\*|__)?\s*:?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_ENTRY = re.compile(r"^[ \t>]*(?:[-*+]|\d{1,3}[.)])?\s*(?:\\?\[|\(?P?\d|[-*+]|\d)")
_DEFINITION = re.compile(r"^[ \t]*\[\^?P?\d{1,3}\]:\s*\S", re.IGNORECASE)
"""A footnote or link definition of Markdown."""
NEAR = 48
"""Characters around a number that are looked at: the longest names of code, and some room."""
EXPONENT_LETTERS = 2
"""A superscript after a word of so few letters is an exponent: m², kg², x²."""
_UNITS = frozenset({"mol", "rad", "sec", "min", "inch", "foot", "feet", "mile", "sin", "cos", "tan",
                    "log", "exp", "chi", "eta", "squared"})  # fmt: skip


def code_spans(text: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return where blocks of code and code in lines stand; a block without an end is open."""
    blocks: list[tuple[int, int]] = []
    begun: tuple[int, str] | None = None
    for fence in _FENCE.finditer(text):
        mark = fence[1]
        if begun is None:
            begun = (fence.start(), mark)
        elif mark[0] == begun[1][0] and len(mark) >= len(begun[1]):
            blocks.append((begun[0], fence.end()))
            begun = None
    if begun is not None:
        blocks.append((begun[0], len(text)))
    return blocks, [found.span() for found in _INLINE.finditer(text)]


def index_like(text: str, start: int, stop: int) -> bool:
    """Whether bare numbers in square brackets read as an index, an interval or a list."""
    before, after = text[max(0, start - NEAR) : start], text[stop : stop + NEAR]
    if _EQUALS.search(before) or ("," in text[start:stop] and _LISTED.search(before)):
        return True
    if before.endswith("!") and after.startswith("("):  # an image of Markdown
        return True
    word = re.search(r"[\w.]*$", before)
    name = word[0] if word else ""
    if not name:
        return bool(before[-1:] == "]" and re.search(r"\w\[[^\[\]]*\]$", before)
                    and _continues_code(after))  # fmt: skip
    if len(name) == 1 and (name.islower() or _ARRAY.search(before)):
        return True  # but not: vitamin C[2]
    return "_" in name or _continues_code(after) or "." in name.rstrip(".")


def _continues_code(after: str) -> bool:
    return re.match(r"\.[a-z_]\w*|\(\w*\)|\s*(?:==?|\+=|-=|<=|>=)\s", after) is not None


def exponent(text: str, start: int) -> bool:
    """Whether a superscript at a place is an exponent, or begins a line as a footnote's mark."""
    before = text[max(0, start - NEAR) : start]
    if not before or before[-1].isspace():
        return False
    word = re.search(r"[^\W\d_]+$", before)
    if word is None:
        return before[-1].isdigit() or before[-1] in ")]|}·/"
    return len(word[0]) <= EXPONENT_LETTERS or word[0].casefold() in _UNITS


def list_start(text: str) -> int:
    """Return where a list of sources at an answer's end begins; the text's length for none.

    It has a header, or is made of Markdown's definitions alone.
    """
    start = at = len(text)
    entries, definitions = 0, True
    for line in reversed(text.splitlines(keepends=True)):
        at -= len(line)
        if not line.strip():
            continue
        if _HEADER.match(line):
            start = at if entries else start
        elif _ENTRY.match(line):
            entries += 1
            definitions = definitions and _DEFINITION.match(line) is not None
            start = at if definitions else start
        else:
            break
    return start
