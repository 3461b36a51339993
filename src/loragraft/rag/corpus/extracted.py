"""What a reader makes of a file, and how it travels between processes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from loragraft.rag.records import Heading

LONGEST_TITLE = 200
"""Characters; what is longer is no title but a paragraph in the wrong place."""


class Extracted(NamedTuple):
    """A document's content.

    Attributes:
        title: Its own, or "" where it says none.
        text: Plain text.
        headings: In the text's order.
        metadata: What the file says about itself.
    """

    title: str
    text: str
    headings: tuple[Heading, ...] = ()
    metadata: Mapping[str, Any] = {}

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**self._asdict(), "headings": [_row(heading) for heading in self.headings]}


def _row(heading: Heading) -> list[Any]:
    return [heading.level, heading.text, heading.start, heading.line]


def from_json(data: Mapping[str, Any]) -> Extracted:
    """Return what :meth:`Extracted.as_json` wrote."""
    headings = tuple(Heading(*row) for row in data["headings"])
    return Extracted(data["title"], data["text"], headings, data["metadata"])


_NEWLINES = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_DROPPED = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\u00ad\ufff9-\ufffb]")
_HALVES = re.compile(r"[\ud800-\udfff]")
_LINE_ENDS = re.compile(r"(?<![ \t\xa0])[ \t\xa0]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{4,}")


def tidy(text: str) -> str:
    """Return a text without control characters, in composed form, with plain line ends.

    Tabs and line feeds stay; soft hyphens and byte order marks go; half surrogates, which nothing
    can store, become replacement characters.
    """
    text = _DROPPED.sub("", _NEWLINES.sub("\n", text))
    text = _HALVES.sub("\ufffd", text)
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return _BLANK_LINES.sub("\n\n\n", _LINE_ENDS.sub("", text))


def tidy_line(text: str) -> str:
    """Return a text as one line, white space collapsed."""
    return " ".join(tidy(text).split())


def as_title(text: str) -> str:
    """Return a text as a title, or "" where it is too long to be one."""
    line = tidy_line(text)
    return line if len(line) <= LONGEST_TITLE else ""
