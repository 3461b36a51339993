"""One find of a search: what it is called, how large and how liked it is, what its name claims."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from loragraft.adapter.fingerprint import known_base
from loragraft.checkpoint.bases import full_precision_name

SourceName = Literal["hf", "kaggle"]
Kind = Literal["model", "dataset", "notebook"]
Sort = Literal["updated", "downloads", "votes"]
Describe = Callable[[str], str]

OTHERS = 5
"""Further uploads of an author that are named."""
_DESCRIPTION = 300
"""Characters of a description that are kept."""


@dataclass(frozen=True)
class Candidate:
    """Something that could be the adapter one looks for. What is not known is None or empty.

    Attributes:
        source: Where it was found.
        kind: What it is there.
        id: ``owner/name``.
        fetch: What to give to ``adapter fetch``; None where it cannot be fetched.
        url: Its page.
        title: Its title, or its name.
        author: Who put it there.
        bytes: Its size; on the Hub everything stored, older revisions included.
        updated: When it was last changed, ISO 8601.
        downloads: How often it was downloaded, as the source counts.
        votes: Likes or votes.
        description: What its author says, or its tags.
        name_says: What the name says about the base.
        claimed_base: The base that its card names.
        gated: Whether it asks for a consent first.
        others: The author's other uploads.
    """

    source: SourceName
    kind: Kind
    id: str
    fetch: str | None
    url: str
    title: str
    author: str
    bytes: int | None = None
    updated: str | None = None
    downloads: int | None = None
    votes: int | None = None
    description: str = ""
    name_says: str = ""
    claimed_base: str | None = None
    gated: bool = False
    others: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as JSON values."""
        return {**vars(self), "others": list(self.others)}


def describe_base(name: str) -> str:
    """Say what a name tells about the base, as far as the tables of known models go.

    >>> describe_base("someone/Qwen2.5-1.5B-Instruct-reddit-lora")
    'Qwen2.5-1.5B (hidden 1536, 28 layers)'
    """
    said: list[str] = []
    original = full_precision_name(name)
    if original is not None:
        said.append(f"{original[1]} of {original[0]}")
    known = known_base(name)
    if known is not None:
        said.append(f"{known.name} (hidden {known.hidden}, {known.layers} layers)")
    return "; ".join(said)


def shorten(text: object) -> str:
    """Return a description as one line of bounded length."""
    line = re.sub(r"\s+", " ", str(text or "")).strip()
    return line if len(line) <= _DESCRIPTION else f"{line[: _DESCRIPTION - 1].rstrip()}…"


def ordered(candidates: Iterable[Candidate], sort: Sort) -> list[Candidate]:
    """Return candidates by what is wanted, the largest first; unknown values last."""

    def key(candidate: Candidate) -> tuple[bool, Any]:
        value = getattr(candidate, sort)
        return (value is not None, value if value is not None else 0)

    known = [candidate for candidate in candidates if key(candidate)[0]]
    unknown = [candidate for candidate in candidates if not key(candidate)[0]]
    return sorted(known, key=key, reverse=True) + unknown
