"""What stands inside a citation: numbers, ranges, words such as "Doc", and what follows them."""

# ruff: noqa: RUF001 - the characters that others write for ours

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

WIDEST_RANGE = 30
"""Numbers of a range; what is wider, such as [1914-1918], is none of passages."""

KEYS = (
    "documents?|docs?|passages?|sources?|references?|refs?|citations?|cites?|cit|excerpts?|"
    "snippets?|chunks?|contexts?|footnotes?|dokumente?|quellen?|textstellen?|fuentes?|"
    "documentos?|pasajes?|passagens?"
)
"""Words before a number, in the languages in which they are likely; small models write them
although they were shown "[P1]"."""

PLAIN = str.maketrans(
    {
        **dict(zip("０１２３４５６７８９", "0123456789", strict=True)),
        **dict.fromkeys("【［〔", "["),
        **dict.fromkeys("】］〕", "]"),
        **dict.fromkeys("（", "("),
        **dict.fromkeys("）", ")"),
        **dict.fromkeys("‐‑‒–—−～", "-"),
        **dict.fromkeys("，、", ","),
        **dict.fromkeys("；", ";"),
        **dict.fromkeys("：", ":"),
        **dict.fromkeys("ＰРΡ", "P"),
        "№": "#",
        **dict.fromkeys("\u00a0\u202f\u2009\u3000", " "),
    }
)
"""One character for one, so that places stay: what East Asian models and word processors write."""

_LEAD = re.compile(
    r"\s*(?P<word>(?:see(?: also)?|cf\.?|from|per|in|e\.g\.,?|according to)\s+)?\^?\s*"
    rf"(?:(?P<key>{KEYS})(?![a-z])(?:\s+(?:no\.?|numbers?|ids?)(?![a-z]))?[\s:._#-]*)?",
    re.IGNORECASE,
)
_ITEM = re.compile(
    rf"(?:(?:{KEYS})[\s:_#-]*)?#?(?P<letter>P)?(?P<space>[ _.-]{{0,2}})(?P<digits>\d{{1,6}})"
    r"(?!\w|%|[.:]\d)",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(
    r"\s*(?P<range>-|\.\.|\bto\b)\s*"
    r"|\s*(?:[,;&+]|[/|](?=\s*P)|\band\b|\bor\b|\bund\b|\by\b|\bet\b)(?:\s*(?:and\b|or\b|&))?\s*|\s+",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\s*(?:[†‡¶§].*|[,:;]?\s*(?:pp?\.|pages?|lines?|sec(?:tion|\.)|ch(?:apter|\.)|para(?:graph|\.)|"
    r"fig(?:ure|\.)|tab(?:le|\.)|abs\.|s\.)\s*\d.*)$",
    re.IGNORECASE | re.DOTALL,
)
"""Where in a passage: [1†L3], [2, p. 4]."""


@dataclass(frozen=True)
class Body:
    """What a pair of brackets cites.

    Attributes:
        ends: Numbers that were written.
        between: Numbers that a range only implies.
        explicit: Whether a word or our letter says that a passage is meant.
        strict: Whether every number has our letter.
    """

    ends: tuple[int, ...]
    between: tuple[int, ...]
    explicit: bool
    strict: bool


def parse_body(text: str) -> Body | None:
    """Return what the inside of brackets cites, or None where it is something else.

    Args:
        text: Without the brackets, translated by ``PLAIN``.
    """
    lead = _LEAD.match(text)
    assert lead is not None  # it may be empty
    rest = _PLACE.sub("", text[lead.end() :].rstrip(" \\"))
    items, tail = _items(rest)
    ends = tuple(number for number, _, _ in items)
    strict = bool(items) and all(letter for _, letter, _ in items)
    explicit = strict or bool(lead["key"])
    if not ends or (0 in ends and not strict) or (lead["word"] and not explicit):
        return None
    between = _between(items)
    if between is None and strict:  # [P1-P99] names two labels, whatever it means between them
        between = ()
    if between is None or not _ends_well(tail, explicit, strict):
        return None
    return Body(ends, between, explicit, strict)


def _items(text: str) -> tuple[list[tuple[int, bool, bool]], str]:
    """Return the numbers, whether each has our letter and ends a range; and what follows them."""
    items: list[tuple[int, bool, bool]] = []
    at, ranged = 0, False
    while (item := _ITEM.match(text, at)) is not None and _is_passage(item, first=not items):
        items.append((int(item["digits"]), bool(item["letter"]), ranged))
        at = item.end()
        separator = _SEPARATOR.match(text, at)
        if separator is None or _ITEM.match(text, separator.end()) is None:
            break
        ranged = separator["range"] is not None
        at = separator.end()
    return items, text[at:]


def _is_passage(item: re.Match[str], *, first: bool) -> bool:
    """Whether an item is a number of a passage: not of a page (p. 3), and not negative."""
    if item["letter"]:
        return "." not in item["space"] and (item["letter"] == "P" or not item["space"])
    return not item["space"].strip() and not (item["space"] and first)


def _between(items: list[tuple[int, bool, bool]]) -> tuple[int, ...] | None:
    """Return what ranges imply; None for a range that goes backwards or too far."""
    ends = {number for number, _, _ in items}
    found: list[int] = []
    for (before, _, _), (number, _, ranged) in itertools.pairwise(items):
        if ranged and not 0 < number - before <= WIDEST_RANGE:
            return None
        if ranged:
            found += [n for n in range(before + 1, number) if n not in ends]
    return tuple(dict.fromkeys(found))


def _ends_well(rest: str, explicit: bool, strict: bool) -> bool:
    """Whether what follows the numbers may follow them: nothing, or after a label its title."""
    if not rest.strip():
        return True
    title = r"\s*[:,;.|>-]\s*\D|\s+\D" if strict else r"\s*[:,;.|>-]\s*\D"
    return explicit and re.match(title, rest) is not None  # but not: (source: 3 studies)
