"""What to look for: an actor's input as given, or made of a curation's protocol.

Queries become X's search operators (``min_faves:``, ``lang:``, ``-filter:links``), which every
tweet scraper hands on to the search, whatever it calls its own options.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loragraft.artifact.jsonl import Broken, scan_jsonl
from loragraft.dataset.tweets import read_tweet
from loragraft.errors import InputError

_FILTERS = {
    "is_retweet": "-filter:nativeretweets",
    "has_media": "-filter:media",
    "has_urls": "-filter:links",
}
"""Keys of a protocol that are false, to the operator that leaves such posts out."""


@dataclass(frozen=True)
class Wanted:
    """What a protocol asks for.

    Attributes:
        queries: Its own.
        actor: That does the search, if it names one.
        more: What it adds to the actor's input.
        values: All of it.
    """

    queries: tuple[str, ...] = ()
    actor: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def read_protocol(path: Path) -> Wanted:
    """Read the ``protocol`` of a curation's rules.

    Raises:
        InputError: If there is none, or its queries are none.
    """
    from loragraft.settings import read_settings

    values = read_settings(path).values.get("protocol")
    if not isinstance(values, dict):
        raise InputError(f'{path} has no "protocol", which would say what to look for.')
    queries = values.get("search_queries", [])
    if not isinstance(queries, list) or not all(isinstance(q, str) and q.strip() for q in queries):
        raise InputError(f'{path}: expected "search_queries" to be a list of texts.')
    actor, more = values.get("actor"), values.get("actor_input", {})
    if actor is not None and not isinstance(actor, str):
        raise InputError(f'{path}: expected "actor" to be a text such as owner/name.')
    if not isinstance(more, dict):
        raise InputError(f'{path}: expected "actor_input" to be a mapping.')
    return Wanted(tuple(str(query) for query in queries), actor, more, values)


def post_queries(wanted: Wanted) -> list[str]:
    """Return searches for posts, with what the protocol demands of them."""
    operators = [*_at_least(wanted, "min_faves", "min_likes")]
    operators += [*_at_least(wanted, "min_retweets", "min_retweets"), *_language(wanted)]
    operators += [text for name, text in _FILTERS.items() if wanted.values.get(name) is False]
    return [_joined(query, [*operators, "-filter:replies"]) for query in wanted.queries]


def reply_queries(posts: Path, wanted: Wanted) -> list[str]:
    """Return a search for the replies to each post of a file that the protocol would keep.

    Raises:
        InputError: If the file holds no such posts.
    """
    operators = [*_at_least(wanted, "min_faves", "min_reply_likes"), *_language(wanted)]
    found = [
        _joined(f"conversation_id:{post_id} filter:replies", operators)
        for post_id in dict.fromkeys(_post_ids(posts, wanted))
    ]
    if not found:
        raise InputError(f"{posts} holds no posts to find replies to.")
    return found


def _post_ids(path: Path, wanted: Wanted) -> Iterator[str]:
    for line in scan_jsonl(path):
        if isinstance(line, Broken):
            continue
        post = read_tweet(line.values)
        if "id" in post and "reply_to" not in post and _liked(post, wanted):
            yield post["id"]


def _liked(post: Mapping[str, Any], wanted: Wanted) -> bool:
    """Whether a post has as many likes as are asked for, where both are numbers."""
    likes = post.get("likes")
    low, high = wanted.values.get("min_likes"), wanted.values.get("max_likes")
    if not isinstance(likes, int):
        return True
    above = not isinstance(low, int) or likes >= low
    return above and (not isinstance(high, int) or likes <= high)


def _at_least(wanted: Wanted, operator: str, key: str) -> Iterator[str]:
    value = wanted.values.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        yield f"{operator}:{value}"


def _language(wanted: Wanted) -> Iterator[str]:
    languages = wanted.values.get("languages")
    if isinstance(languages, list) and len(languages) == 1:
        yield f"lang:{languages[0]}"


def _joined(query: str, operators: list[str]) -> str:
    """Add the operators that a query does not give itself."""
    there = query.split()
    names = {word.lstrip("-").partition(":")[0] for word in there if ":" in word}
    for text in operators:
        name = text.lstrip("-").partition(":")[0]
        if text not in there and (name not in names or name == "filter"):
            there.append(text)
    return " ".join(there)


def actor_input(queries: list[str], target: int | None, *more: Mapping[str, Any]) -> dict[str, Any]:
    """Return an input as tweet scrapers take it.

    Args:
        queries: Searches; none leaves them out.
        target: Items at most.
        more: Laid over one after the other; a value of None takes a key away.
    """
    found: dict[str, Any] = {}
    if queries:
        found = {"searchTerms": queries, "sort": "Latest"}
        if target is not None:
            found["maxItems"] = target
    for values in more:
        found.update(values)
    return {name: value for name, value in found.items() if value is not None}


def read_input(text: str) -> dict[str, Any]:
    """Read an actor's input.

    Args:
        text: JSON itself, the path of a file of it, or ``-`` for stdin.

    Raises:
        InputError: If it is no JSON object.
    """
    source, data = _content(text)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        # Inputs may hold passwords: the message names the place and quotes nothing.
        place = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{source} is no JSON{place}; expected an object.") from None
    if not isinstance(values, dict):
        raise InputError(f"{source} is a JSON {type(values).__name__}; expected an object.")
    return values


def _content(text: str) -> tuple[str, str | bytes]:
    if text.lstrip().startswith("{"):
        return "--input", text
    if text == "-":
        return "stdin", sys.stdin.read()
    path = Path(text)
    try:
        return str(path), path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path} cannot be read: {reason}. --input is a file of JSON, JSON itself, or -."
        ) from None
