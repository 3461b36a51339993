"""HTML pages as trees: which part is the text, and a walk that no depth of nesting breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

LEFT_OUT = frozenset(
    (
        *("script", "style", "noscript", "template", "svg", "math-annotation", "canvas", "iframe"),
        *("object", "embed", "audio", "video", "map", "button", "input", "select", "textarea"),
        *("dialog", "head", "title", "link", "meta", "datalist", "progress", "meter"),
    )
)
"""Elements that hold no text of the document."""

AROUND = frozenset(("nav", "footer", "aside"))
"""Elements around the text: the same on every page of a site, they would answer every question."""

_AROUND_ROLES = frozenset(("navigation", "banner", "contentinfo", "search", "complementary"))
_AROUND_CLASSES = frozenset(
    (
        *("nav", "navbar", "navigation", "navheader", "navfooter", "menu", "sidebar", "pagination"),
        *("breadcrumb", "breadcrumbs", "sphinxsidebar", "related", "headerlink", "skip-link"),
        *("site-header", "site-footer", "cookie-banner"),
    )
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_PERMALINKS = frozenset("¶#§🔗")

_MAIN_SHARE = 0.25
"""Share of a page's text that its main element must hold to be believed."""


class Step(NamedTuple):
    """One step of a walk: ``kind`` is "open", "close" or "text"."""

    kind: str
    node: LexborNode


def content(root: LexborNode) -> LexborNode:
    """Return the element that holds a page's text: main, the only article, or the body."""
    whole = len(root.text())
    for selector in ("main, [role=main]", "article"):
        found = root.css(selector)
        if len(found) == 1 and len(found[0].text()) >= _MAIN_SHARE * whole:
            return found[0]
    return root


def walk(root: LexborNode, *, around: bool) -> Iterator[Step]:
    """Yield what is below a node in the document's order, without what is no text.

    Args:
        root: Where to walk.
        around: Whether menus, footers and the like are yielded too.
    """
    node: LexborNode | None = root.first_child
    depth = 1
    while node is not None:
        below = None
        if node.tag == "-text":
            yield Step("text", node)
        elif _is_shown(node) and (around or not _is_around(node)):
            yield Step("open", node)
            below = node.first_child
            if below is None:
                yield Step("close", node)
        if below is not None:
            node, depth = below, depth + 1
            continue
        while node is not None and node.next is None:
            node, depth = node.parent, depth - 1
            if node is None or depth == 0:
                return
            yield Step("close", node)
        node = node.next if node is not None else None


def _is_shown(node: LexborNode) -> bool:
    tag = node.tag or ""
    if tag.startswith(("-", "!")) or tag in LEFT_OUT:
        return False
    marks = node.attributes
    if "hidden" in marks or marks.get("aria-hidden") == "true":
        return False
    if _HIDDEN.search(marks.get("style") or ""):
        return False
    return tag != "a" or node.text(strip=True) not in _PERMALINKS


def _is_around(node: LexborNode) -> bool:
    if node.tag in AROUND:
        return True
    marks = node.attributes
    if (marks.get("role") or "").lower() in _AROUND_ROLES:
        return True
    return not _AROUND_CLASSES.isdisjoint((marks.get("class") or "").lower().split())
