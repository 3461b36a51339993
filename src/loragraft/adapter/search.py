"""Look for adapters by words, at the Hugging Face Hub or at Kaggle."""

from __future__ import annotations

from loragraft.adapter.candidate import (
    Candidate,
    Describe,
    Kind,
    Sort,
    SourceName,
    describe_base,
    ordered,
)
from loragraft.errors import InputError

MAX_LIMIT = 100
"""Finds a search may return: each author costs one more question."""


def search(
    query: str,
    source: SourceName = "hf",
    kind: Kind = "model",
    sort: Sort = "updated",
    limit: int = 20,
    describe: Describe = describe_base,
) -> list[Candidate]:
    """Search, and add what helps to tell finds apart.

    Args:
        query: Words.
        source: Where.
        kind: What; notebooks are at Kaggle only.
        sort: By what, the newest or most first.
        limit: Finds at most.
        describe: Says what a name tells about the base.

    Raises:
        InputError: If nothing is asked for, or what the source does not have.
        UnavailableError: If the source cannot be reached or refuses.
        MissingExtraError: If a package is not installed (Kaggle).
    """
    if not query.strip():
        raise InputError("There is nothing to search for. Give some words of a name.")
    if not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"{limit} finds cannot be asked for; 1 to {MAX_LIMIT} can.")
    if source == "kaggle":
        from loragraft.adapter.kaggle_search import search_kaggle

        return ordered(search_kaggle(query, kind, sort, limit, describe), sort)
    if kind == "notebook":
        raise InputError("The Hub has no notebooks. Give --source kaggle, or another --kind.")
    from loragraft.adapter.hub_search import search_hub

    return ordered(search_hub(query, kind, sort, limit, describe), sort)
