"""A document cut into its smallest pieces worth keeping whole, and what stands between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from itertools import pairwise
from typing import NamedTuple

from loragraft.rag.chunking.sentences import sentence_starts
from loragraft.rag.records import Heading


class Border(Enum):
    """What stands before a piece."""

    SECTION = auto()
    PARAGRAPH = auto()
    ITEM = auto()
    LINE = auto()
    SENTENCE = auto()
    CODE_GAP = auto()
    CODE = auto()
    ROW = auto()
    CLAUSE = auto()
    WORD = auto()
    TOKEN = auto()
    HEADED = auto()
    """Right below a heading, a table's header or a line that announces what follows."""


class Piece(NamedTuple):
    """A piece of a document's text.

    Attributes:
        start: First character.
        stop: One past the last; no white space at either end.
        border: What stands before it.
        level: Of the heading that begins here, else 0.
        header: The header of the table whose row this is, else "".
        heading: Whether this is a heading's own line.
        verbatim: Whether this is part of a block of code or of a table.
    """

    start: int
    stop: int
    border: Border
    level: int = 0
    header: str = ""
    heading: bool = False
    verbatim: bool = False


class _Line(NamedTuple):
    start: int
    stop: int
    text: str


_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_ITEM = re.compile(r"\s*(?:[-*+•‣–]|\d{1,4}[.)]|[a-zA-Z][.)])\s+\S")  # noqa: RUF001
_RULE_ROW = frozenset(" \t:|-")
_CODE_INDENT = re.compile(r"(?: {4}|\t)")


def find_pieces(text: str, headings: tuple[Heading, ...]) -> list[Piece]:
    """Cut a text into sentences, list items, rows of tables and lines of code.

    Every character that is no white space is in exactly one piece, in the text's order.
    """
    pieces: list[Piece] = []
    for section in _sections(len(text), headings):
        found = list(_section_pieces(text, section.start, section.stop))
        if not found:
            continue
        if section.heading:
            found = [Piece(found[0].start, found[-1].stop, Border.SECTION)]
        if section.level:
            found[0] = found[0]._replace(
                border=Border.SECTION, level=section.level, heading=section.heading
            )
        elif pieces and pieces[-1].heading:
            found[0] = found[0]._replace(border=Border.HEADED)
        pieces.extend(found)
    return pieces


class _Section(NamedTuple):
    """A heading's line, or the text below one; ``level`` is 0 for text below a line."""

    start: int
    stop: int
    level: int
    heading: bool


def _sections(length: int, headings: tuple[Heading, ...]) -> list[_Section]:
    found: dict[int, tuple[int, bool]] = {0: (0, False)}
    for heading in headings:
        body = min(max(heading.start, 0), length)
        begin = body if heading.line is None else min(max(heading.line, 0), body)
        found[begin] = (heading.level, begin < body)
        if begin < body:
            found.setdefault(body, (0, False))
    starts = sorted(found)
    stops = [*starts[1:], length]
    return [_Section(a, b, *found[a]) for a, b in zip(starts, stops, strict=True)]


def _lines(text: str, start: int, stop: int) -> Iterator[_Line]:
    while start < stop:
        end = text.find("\n", start, stop)
        end = stop if end < 0 else end
        yield _Line(start, end, text[start:end])
        start = end + 1


def _section_pieces(text: str, start: int, stop: int) -> Iterator[Piece]:
    """Yield the pieces of a stretch that no heading divides."""
    lines = list(_lines(text, start, stop))
    at, announced = 0, False
    while at < len(lines):
        if not lines[at].text.strip():
            at += 1
            continue
        end, kind = _block(lines, at)
        block = lines[at:end]
        found = list(_READERS[kind](text, block))
        if found and announced and kind != "paragraph":
            found[0] = found[0]._replace(border=Border.HEADED)
        yield from found
        announced = block[-1].text.rstrip().endswith(":")
        at = end


def _block(lines: list[_Line], at: int) -> tuple[int, str]:
    """Return where the block that begins at a line ends, and its kind."""
    if found := _FENCE.match(lines[at].text):
        return _fenced(lines, at, found[1]), "code"
    if _is_row(lines[at]):
        return _rows(lines, at), "table"
    if _CODE_INDENT.match(lines[at].text) and not _ITEM.match(lines[at].text):
        return _indented(lines, at), "code"
    end = at + 1
    while end < len(lines) and lines[end].text.strip():
        if _FENCE.match(lines[end].text) or _is_row(lines[end]):
            break
        end += 1
    return end, "paragraph"


def _fenced(lines: list[_Line], at: int, fence: str) -> int:
    for number in range(at + 1, len(lines)):
        line = lines[number].text.strip()
        if len(line) >= len(fence) and not line.strip(fence[0]):
            return number + 1
    return len(lines)


def _indented(lines: list[_Line], at: int) -> int:
    end, last = at, at
    while end < len(lines):
        if lines[end].text.strip():
            if not _CODE_INDENT.match(lines[end].text):
                break
            last = end
        end += 1
    return last + 1


def _is_row(line: _Line) -> bool:
    stripped = line.text.strip()
    return len(stripped) > 1 and stripped[0] == "|" and stripped[-1] == "|"


def _is_rule(line: str) -> bool:
    return "-" in line and _RULE_ROW.issuperset(line)


def _rows(lines: list[_Line], at: int) -> int:
    while at < len(lines) and _is_row(lines[at]):
        at += 1
    return at


def trimmed(text: str, start: int, stop: int) -> tuple[int, int]:
    """Return a span without the white space at its ends."""
    part = text[start:stop].rstrip()
    return start + len(part) - len(part.lstrip()), start + len(part)


def _code(text: str, lines: list[_Line]) -> Iterator[Piece]:
    fenced = _FENCE.match(lines[0].text) is not None
    gap = False
    for number, line in enumerate(lines):
        start, stop = trimmed(text, line.start, line.stop)
        if start == stop:
            gap = True
            continue
        closing = fenced and number == len(lines) - 1 and _FENCE.match(line.text) is not None
        if number == 0:
            border = Border.PARAGRAPH
        elif fenced and (number == 1 or closing):  # fences stay with the code
            border = Border.HEADED
        else:
            border = Border.CODE_GAP if gap else Border.CODE
        yield Piece(start, stop, border, verbatim=True)
        gap = False


def _table(text: str, lines: list[_Line]) -> Iterator[Piece]:
    ruled = len(lines) > 1 and _is_rule(lines[1].text)
    header = lines[0].text.strip().strip("|").strip() if ruled else ""
    for number, line in enumerate(lines):
        start, stop = trimmed(text, line.start, line.stop)
        border = Border.HEADED if ruled and number <= 2 else Border.ROW  # 1 is the rule
        if number == 0:
            border = Border.PARAGRAPH
        yield Piece(start, stop, border, header=header if number > 1 else "", verbatim=True)


def _paragraph(text: str, lines: list[_Line]) -> Iterator[Piece]:
    """Yield sentences; a line is a border of its own where it was broken on purpose."""
    width = max(len(line.text) for line in lines)
    begin, border = lines[0].start, Border.PARAGRAPH
    if _ITEM.match(lines[0].text) and lines[0].text[:1].isspace():
        border = Border.ITEM
    for above, line in pairwise(lines):
        here = _line_border(above, line, width)
        if here is not None:
            yield from _sentences(text, begin, above.stop, border)
            begin, border = line.start, here
    yield from _sentences(text, begin, lines[-1].stop, border)


def _line_border(above: _Line, line: _Line, width: int) -> Border | None:
    if _ITEM.match(line.text):
        return Border.ITEM
    first = line.text.split(None, 1)[0]
    # A wrapped line is broken because the next word did not fit: then the break means nothing.
    fits = len(above.text.rstrip()) + 1 + len(first) <= width
    return Border.LINE if fits else None


def _sentences(text: str, start: int, stop: int, border: Border) -> Iterator[Piece]:
    start, stop = trimmed(text, start, stop)
    if start == stop:
        return
    for following in sentence_starts(text, start, stop):
        yield Piece(start, trimmed(text, start, following)[1], border)
        start, border = following, Border.SENTENCE
    yield Piece(start, stop, border)


_READERS = {"code": _code, "table": _table, "paragraph": _paragraph}
