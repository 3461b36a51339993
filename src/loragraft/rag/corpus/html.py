"""HTML to plain text that keeps headings, lists, tables and code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loragraft.rag.corpus.extracted import Extracted, as_title
from loragraft.rag.corpus.html_tree import LEFT_OUT, Step, content, walk
from loragraft.rag.corpus.writer import TextWriter

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    (
        *("p", "div", "section", "article", "main", "header", "body", "blockquote", "figure"),
        *("figcaption", "address", "details", "summary", "fieldset", "form", "center", "hr"),
        *("table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th", "ul", "ol", "li"),
        *("dl", "dt", "dd", "hgroup", "legend", "optgroup", "label"),
    )
)
_SPACE = re.compile(r"[ \t\n\r\f\v\u200b]+")
_LAYOUT = "table, ul, ol, dl, h1, h2, h3, h4, h5, h6, pre, p + p"
"""What cells of a table of data do not hold: a table with these arranges a page."""

_DEEPEST_INDENT = 12
"""Levels of lists that are told apart; indents without end would outgrow any text."""

DECLARED = re.compile(
    rb"""<(?:meta|\?xml)[^>]{0,300}?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I
)
DECLARED_WITHIN = 4096
"""Bytes in which an encoding may be declared; browsers look at the first 1,024."""


def declared_encoding(data: bytes) -> str | None:
    """Return the encoding that a page says it has."""
    found = DECLARED.search(data[:DECLARED_WITHIN])
    return found[1].decode("ascii", "replace") if found else None


def extract_html(html: str, most_headings: int, *, whole: bool = False) -> Extracted:
    """Return the text of a page.

    Args:
        html: Any text; it is read as browsers read it.
        most_headings: How many headings are kept.
        whole: Whether everything belongs to the text, as in what Markdown was rendered to.
    """
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(html)
    body = page.body or page.root
    if body is None:
        return Extracted("", "")
    root = body if whole else content(body)
    reader = _Reader(TextWriter(most_headings))
    for step in walk(root, around=whole):
        reader.take(step)
    reader.flush()
    writer = reader.writer
    if not writer.text and not whole:
        return extract_html(html, most_headings, whole=True)
    outer = [heading.text for heading in writer.headings if heading.level == 1]
    title = page.css_first("title")
    own = outer[0] if len(outer) == 1 else title.text() if title is not None else ""
    return Extracted(as_title(own), writer.text, tuple(writer.headings))


class _Reader:
    """Turns the steps of a walk into blocks."""

    def __init__(self, writer: TextWriter) -> None:
        self.writer = writer
        self._inline: list[str] = []
        self._lists: list[int | None] = []  # a number for ordered lists: the next item's
        self._marker = ""
        self._close = False
        self._code: list[str] | None = None
        self._level = 0
        self._skipped: int | None = None  # a table that was taken as a whole

    def take(self, step: Step) -> None:
        """Take one step."""
        if self._skipped is not None:
            if step.kind == "close" and step.node.mem_id == self._skipped:
                self._skipped = None
            return
        if step.kind == "text":
            text = step.node.text_content or ""
            (self._inline if self._code is None else self._code).append(text)
        elif step.kind == "open":
            self._open(step.node, step.node.tag or "")
        else:
            self._end(step.node.tag or "")

    def flush(self) -> None:
        """Write the text that is waiting as a block."""
        text, self._inline = "".join(self._inline), []
        lines = [_SPACE.sub(" ", line).strip() for line in text.split("\x00")]
        text = "\n".join(line for line in lines if line)
        if not text:
            return
        if self._level:
            self.writer.heading(self._level, text)
        else:
            self._write_block(text)

    def _write_block(self, text: str) -> None:
        close = self._close
        if self._lists:
            indent = "  " * min(len(self._lists) - 1, _DEEPEST_INDENT)
            hanging = indent + "  "
            first = indent + self._marker if self._marker else hanging
            text = first + text.replace("\n", "\n" + hanging)
            close = close or len(self._lists) > 1 or self.writer.ends_with(":")
            self._marker = ""
        self.writer.block(text, close=close)
        self._close = False

    def _open(self, node: LexborNode, tag: str) -> None:
        if tag == "br":
            (self._inline if self._code is None else self._code).append(
                "\x00" if self._code is None else "\n"
            )
        elif self._code is not None:
            return
        elif tag == "pre":
            self.flush()
            self._code = []
        elif tag in _HEADINGS:
            self.flush()
            self._level = _HEADINGS[tag]
        elif tag == "table" and _holds_data(node):
            self.flush()
            self._take_table(node)
        elif tag in _BLOCKS:
            self.flush()
            self._open_block(node, tag)
        else:
            self._open_inline(node, tag)

    def _open_block(self, node: LexborNode, tag: str) -> None:
        if tag in ("ul", "ol"):
            start = node.attributes.get("start") or "1"
            first = int(start) if start.isdecimal() and len(start) < 9 else 1
            self._lists.append(first if tag == "ol" else None)
            self._close = len(self._lists) > 1
        elif tag == "li" and self._lists:
            number = self._lists[-1]
            self._marker = "- " if number is None else f"{number}. "
            if number is not None:
                self._lists[-1] = number + 1
        elif tag == "dd":
            self._close = True

    def _open_inline(self, node: LexborNode, tag: str) -> None:
        if tag == "img":
            alt = node.attributes.get("alt") or ""
            if len(alt.split()) > 3:  # fewer words are a badge or an icon
                self._inline.append(f" {alt} ")
        elif tag == "code":
            self._inline.append("`")
        elif tag == "sup" and not _holds_link(node):
            self._inline.append("^")

    def _end(self, tag: str) -> None:
        if tag == "pre" and self._code is not None:
            text, self._code = "".join(self._code), None
            self.writer.code(text)
        elif self._code is not None:
            return
        elif tag == "code":
            self._inline.append("`")
        elif tag in _HEADINGS:
            self.flush()
            self._level = 0
        elif tag in _BLOCKS:
            self.flush()
            self._end_block(tag)

    def _end_block(self, tag: str) -> None:
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            self._marker = ""
        elif tag == "li" and self._lists:
            self._close = True  # the next item stands on the next line
        if tag in ("ul", "ol") and not self._lists:
            self._close = False

    def _take_table(self, table: LexborNode) -> None:
        rows: list[list[str]] = []
        headed = False
        for row in table.css("tr"):
            cells = row.css("td, th")
            if not rows:
                headed = bool(cells) and all(cell.tag == "th" for cell in cells)
            rows.append([_cell_text(cell) for cell in cells])
        caption = table.css_first("caption")
        if caption is not None:
            self.writer.block(_SPACE.sub(" ", caption.text()).strip())
        self.writer.table(rows, header=headed)
        self._skipped = table.mem_id


def _holds_link(node: LexborNode) -> bool:
    """Tell whether a superscript is a reference mark: a link, perhaps in brackets."""
    return any(child.tag == "a" for child in node.iter())


def _holds_data(table: LexborNode) -> bool:
    return all(found.mem_id == table.mem_id for found in table.css(_LAYOUT))


def _cell_text(cell: LexborNode) -> str:
    texts = []
    for step in walk(cell, around=True):
        if step.kind == "text" and (
            step.node.parent is None or step.node.parent.tag not in LEFT_OUT
        ):
            texts.append(step.node.text_content or "")
        elif step.kind == "open" and step.node.tag == "br":
            texts.append(" ")
    return "".join(texts)
