"""Texts and tokens as a person reads them: escaped, cut, with the place where they part."""

from __future__ import annotations

from collections.abc import Sequence

CONTEXT = 24
"""Characters on each side of the first difference."""
SHOWN_TOKENS = 6


def quoted(text: str) -> str:
    """Return a text in quotes, with what is not printable escaped."""
    return repr(text)


def first_difference(before: str | None, after: str | None) -> str:
    """Say where two texts part, with some of either side.

    None stands for a conversation that a template refuses.
    """
    if before is None or after is None:
        refused, other = ("before", after) if before is None else ("here", before)
        return f"refused {refused}, rendered as {quoted(_cut(other or ''))} otherwise"
    at = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    start = max(0, at - CONTEXT)
    lead = quoted(("…" if start else "") + before[start:at])
    ways = (_rest(text, at) for text in (before, after))
    return "at character {}, after {}, {} became {}".format(at, lead, *ways)


def _rest(text: str, at: int) -> str:
    return quoted(_cut(text[at:])) if at < len(text) else "the end"


def _cut(text: str) -> str:
    return text if len(text) <= CONTEXT else text[:CONTEXT] + "…"


def shown_ids(ids: Sequence[int], vocabulary: Sequence[str]) -> str:
    """Return tokens as numbers and texts."""
    parts = [
        f"{token} {quoted(vocabulary[token])}" if token < len(vocabulary) else str(token)
        for token in ids[:SHOWN_TOKENS]
    ]
    return "[" + ", ".join(parts) + (", …" if len(ids) > SHOWN_TOKENS else "") + "]"
