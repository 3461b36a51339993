"""Whether an answer lists several candidates where one was asked for."""

from __future__ import annotations

import itertools
import re

from loragraft.experiment.metrics.facts.statements import bullets

SHORT_ITEM = 4
"""Words of a candidate in a list; what is longer is a statement."""
_LEAST_ITEMS = 3
_VERB = (
    r"(?:was|were|is|are|has|have|had|been|be|did|does|do|could|can|may|might|will|would|should|"
    r"which|that|who|where|when|then|it|they|he|she|we|i|by|not|so|as|\w+ed|\w+ing)\b"
)
_OR_AFTER = re.compile(r"\s*(?:\w+[\s-]+){0,2}?(?:or|and/or)\s+", re.IGNORECASE)
_OR_BEFORE = re.compile(
    r"\b(?:or|either|and/or)\s+(?:(?:the|a|an|with|by|in|of|to|from|on)\s+)*(?:\w+\s+)?$",
    re.IGNORECASE,
)
_AND_AFTER = re.compile(
    rf"\s*(?:\w+\s+)?(?:,\s*)?(?:and|&|plus|as well as|along with)\s+(?!{_VERB})"
    rf"\w+(?:[\s-]+(?!{_VERB})\w+){{0,4}}[\s-]*(?=[.,;:!?()]|$)",
    re.IGNORECASE,
)
_AND_BEFORE = re.compile(
    r"\w\s+(?:and|&|plus|as well as|along with)\s+(?:(?:the|a|an|with|by|to|from|of|in)\s+)*$",
    re.IGNORECASE,
)
_COMMA_AFTER = re.compile(
    rf"\s*,\s*(?!(?:the|a|an|which|who|that|where|when|at|in|on|of|by|with|from|for)\b|{_VERB})"
    rf"\w+(?:[\s-]+(?!{_VERB}|and\b|or\b)\w+){{0,{SHORT_ITEM - 1}}}\s*(?:,|\band\b|\bor\b)",
    re.IGNORECASE,
)
_SLASH_AFTER, _SLASH_BEFORE = re.compile(r"\s*/\s*[A-Za-z]"), re.compile(r"[A-Za-z]\s*/\s*$")
_PARTS = re.compile(r"\s*(?:[,;/\n]|\band\b|\bor\b|,\s*and\b|,\s*or\b)\s*", re.IGNORECASE)
_NO_NAME = re.compile(
    r"(?:the|a|an|in|on|of|by|with|from|for|near|under|over|during|after|before|at|to|as|however|"
    r"thus|therefore|also)\b",
    re.IGNORECASE,
)
_SAYS = re.compile(_VERB, re.IGNORECASE)


def is_listed(statement: str, start: int, stop: int) -> bool:
    """Whether what stands at a place of a statement is one of several candidates.

    It is joined by "or" to anything, or by "and", a comma or a slash to another short name; that
    two things were done ("caught and counted") is no list.
    """
    before, after = statement[:start], statement[stop:]
    looks = (
        _OR_AFTER.match(after), _OR_BEFORE.search(before), _AND_AFTER.match(after),
        _AND_BEFORE.search(before), _COMMA_AFTER.match(after), _SLASH_AFTER.match(after),
        _SLASH_BEFORE.search(before),
    )  # fmt: skip
    if any(look is not None for look in looks) or _all_short(_PARTS.split(statement)):
        return True
    return _amid(statement, start, stop)


def _amid(statement: str, start: int, stop: int) -> bool:
    """Whether a mention is an item among at least two short others."""
    ends = [0, *(found.end() for found in _PARTS.finditer(statement)), len(statement)]
    items = [(begin, end) for begin, end in itertools.pairwise(ends)]
    own = [statement[begin:end] for begin, end in items if begin <= start and stop <= end]
    others = [statement[begin:end].strip(" ,;.") for begin, end in items
              if stop <= begin or end <= start]  # fmt: skip
    candidates = [one for one in others if _candidate(one)]
    return bool(own) and _candidate(own[0].strip(" ,;.")) and len(candidates) >= _LEAST_ITEMS - 1


def _candidate(item: str) -> bool:
    """Whether an item is a short name, not a phrase around a statement's verb."""
    words = item.split()
    return 0 < len(words) <= SHORT_ITEM and not _NO_NAME.match(item) and not _SAYS.search(item)


def is_many(answer: str) -> bool:
    """Whether an answer is a list: two short bullets or more, or three short lines."""
    points = bullets(answer)
    if len(points) > 1 and all(len(point.split()) <= SHORT_ITEM for point in points):
        return len({point.casefold() for point in points}) > 1
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    return len({line.casefold() for line in lines}) > 1 and _all_short(lines)


def _all_short(parts: list[str]) -> bool:
    """Whether these are at least three short names."""
    found = [part.strip(" .!") for part in parts if part.strip(" .!")]
    return len(found) >= _LEAST_ITEMS and all(
        len(part.split()) <= SHORT_ITEM and not _SAYS.search(part) for part in found
    )
