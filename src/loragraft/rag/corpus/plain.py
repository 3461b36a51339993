"""Plain text: headings are recognised where they are underlined."""

from __future__ import annotations

import re

from loragraft.rag.corpus.extracted import Extracted, as_title, tidy
from loragraft.rag.records import Heading

_UNDERLINED = re.compile(
    r"(?:(?<=\n\n)|\A|(?<=\n\n\n))"  # after a blank line
    r"(?:(?P<over>[=\-~^*+#\"'`]){3,}\n)?"
    r"(?P<title>[^\n]{1,120})\n"
    r"(?P<line>(?P<mark>[=\-~^*+#\"'`])(?P=mark){2,})(?:\n|\Z)"
)
_LONGEST_FIRST_LINE = 100


def extract_plain(text: str, most_headings: int) -> Extracted:
    """Return a plain text; underlined titles (as in reStructuredText) are its headings."""
    text = tidy(text).strip("\n")
    headings = _headings(text, most_headings)
    title = headings[0].text if headings else _first_line(text)
    return Extracted(as_title(title), text, tuple(headings))


def _headings(text: str, most: int) -> list[Heading]:
    found: list[Heading] = []
    levels: dict[str, int] = {}
    for match in _UNDERLINED.finditer(text):
        title = match["title"].strip()
        # A rule as long as the title is an underline; other rules part tables and signatures.
        fits = len(title) - 1 <= len(match["line"]) <= len(match["title"]) + 2
        if not fits or not any(character.isalnum() for character in title) or "  " in title:
            continue
        style = ("over" if match["over"] else "") + match["mark"]
        level = min(levels.setdefault(style, len(levels) + 1), 6)
        found.append(Heading(level, title, match.end(), match.start()))
        if len(found) == most:
            break
    return found


def _first_line(text: str) -> str:
    first, _, rest = text.partition("\n")
    alone = not rest or rest.startswith("\n")
    ends = first.rstrip().endswith((".", ",", ";"))
    return first if alone and not ends and len(first) <= _LONGEST_FIRST_LINE else ""
