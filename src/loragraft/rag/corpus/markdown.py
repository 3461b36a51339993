"""Markdown to plain text, by way of the HTML that it means."""

from __future__ import annotations

import re
from typing import Any

from loragraft.rag.corpus.extracted import Extracted, as_title
from loragraft.rag.corpus.html import extract_html
from loragraft.rag.corpus.metadata import plain_metadata

_FRONT = re.compile(
    r"\A(?:---[ \t]*\n(?P<yaml>.*?)\n(?:---|\.\.\.)|\+\+\+[ \t]*\n.*?\n\+\+\+)[ \t]*(?:\n|\Z)",
    re.DOTALL,
)
_DEEPEST = 100
"""Blocks within blocks that are read; the parser leaves out what is deeper."""

_LONGEST_FRONT = 64 * 1024
"""Characters of a file's front matter that are looked at."""


def extract_markdown(text: str, most_headings: int) -> Extracted:
    """Return the text of a Markdown file: CommonMark with tables and front matter."""
    from markdown_it import MarkdownIt

    front, body = _front_matter(text.replace("\r\n", "\n"))
    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable(["table", "strikethrough"])
    found = extract_html(parser.render(body), most_headings, whole=True)
    title = front.get("title")
    own = as_title(title) if isinstance(title, str) else ""
    return found._replace(title=own or found.title, metadata=front)


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return what stands between dashes at the top, and the rest."""
    found = _FRONT.match(text[:_LONGEST_FRONT])
    if found is None:
        return {}, text
    if found["yaml"] is None:
        return {}, text[found.end() :]
    import yaml

    try:
        values = yaml.safe_load(found["yaml"])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, text  # two rules with text between them, perhaps
    if not isinstance(values, dict):
        return {}, text
    return plain_metadata(values), text[found.end() :]
