"""Posts and replies of social networks under one set of names, whatever collected them.

The table of paths covers what tweet scrapers on Apify write (``author.followers``, ``likeCount``,
``inReplyToId``), twscrape's ``Tweet.dict()`` (``rawContent``, ``inReplyToTweetIdStr``), Twitter's
API in version 1.1 (``full_text``, ``favorite_count``), also wrapped as ``legacy`` by the web
client, and its version 2 (``public_metrics``, ``referenced_tweets``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PATHS: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "fullText", "full_text", "rawContent", "legacy.full_text", "content"),
    "created_at": ("created_at", "createdAt", "date", "legacy.created_at", "timestamp"),
    "lang": ("lang", "language", "legacy.lang"),
    "url": ("url", "twitterUrl", "tweetUrl"),
    "likes": ("likes", "likeCount", "favorite_count", "likes_count", "like_count",
              "favoriteCount", "public_metrics.like_count", "legacy.favorite_count"),
    "retweets": ("retweets", "retweetCount", "retweet_count", "retweets_count",
                 "public_metrics.retweet_count", "legacy.retweet_count"),
    "replies": ("replies", "replyCount", "reply_count", "replies_count",
                "public_metrics.reply_count", "legacy.reply_count"),
    "quotes": ("quotes", "quoteCount", "quote_count", "public_metrics.quote_count",
               "legacy.quote_count"),
    "views": ("views", "viewCount", "view_count", "public_metrics.impression_count",
              "views.count"),
    "author.username": ("author.username", "author.userName", "author.screen_name",
                    "user.username", "user.screen_name", "username", "authorScreenName",
                    "core.user_results.result.legacy.screen_name"),
    "author.followers": ("author.followers", "author.followersCount", "author.followers_count",
                         "user.followersCount", "user.followers_count",
                         "author.public_metrics.followers_count",
                         "core.user_results.result.legacy.followers_count"),
}  # fmt: skip
"""Our name to where it may stand, the first that says something wins. Our own names are among
them, so that what was read once reads the same again."""

IDS: Mapping[str, tuple[str, ...]] = {
    "id": ("id_str", "rest_id", "legacy.id_str", "id", "tweetId", "tweet_id"),
    "reply_to": ("reply_to", "inReplyToTweetIdStr", "in_reply_to_status_id_str", "inReplyToId",
                 "inReplyToTweetId", "inReplyToStatusId", "in_reply_to_tweet_id",
                 "in_reply_to_status_id", "in_reply_to_id", "legacy.in_reply_to_status_id_str",
                 "parentTweetId"),
    "conversation_id": ("conversation_id", "conversationIdStr", "conversation_id_str",
                        "conversationId", "legacy.conversation_id_str"),
    "author.id": ("author.id_str", "author.id", "user.id_str", "user.id", "author_id",
                  "authorRestId", "core.user_results.result.rest_id"),
}  # fmt: skip
"""As above; the values become texts. Those that are texts come first: an id of 19 digits that
went through a language without long integers is another id."""

_MEDIA = ("media", "extendedEntities.media", "extended_entities.media", "entities.media",
          "attachments.media_keys", "legacy.extended_entities.media",
          "legacy.entities.media")  # fmt: skip
_LINKS = ("entities.urls", "links", "legacy.entities.urls", "urls")
_ENTITIES = ("entities", "extendedEntities", "extended_entities", "legacy.entities")
"""Where one of these stands, a list that is missing below it is an empty one."""
_RETWEETED = ("retweetedTweet", "retweeted_tweet", "retweeted_status", "retweet",
              "retweeted_status_result", "legacy.retweeted_status_result")  # fmt: skip
_LONGEST_ID = 1024
_URL = re.compile(r"https?://|\bt\.co/", re.IGNORECASE)
_PICTURE = re.compile(r"\bpic\.(?:twitter|x)\.com/", re.IGNORECASE)


def look_up(values: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return what stands at a dotted path, or None; a name that holds dots itself comes first."""
    if path in values:
        return values[path]
    found: Any = values
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def read_tweet(
    values: Mapping[str, Any], fields: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Return a post or a reply under our names.

    What is not said is left out, but for ``is_retweet``, ``is_quote`` and ``has_urls``, which the
    text says. Numbers and times stay as they are spelled. Reading the result again changes
    nothing.

    Args:
        values: One row as it was collected.
        fields: Our name, or a new one, to paths that are looked at first.

    Returns:
        ``id``, ``text``, ``created_at``, ``lang``, ``url``, ``likes``, ``retweets``, ``replies``,
        ``quotes``, ``views``, ``reply_to``, ``conversation_id``, ``is_retweet``, ``is_quote``,
        ``has_media``, ``has_urls``, ``author.id``, ``author.username``, ``author.followers`` (these
        three nested), and the names of ``fields``.
    """
    more = fields or {}
    found: dict[str, Any] = {}
    for name, paths in IDS.items():
        _put(found, name, _first_id(values, (*more.get(name, ()), *paths)))
    if "reply_to" not in found:
        _put(found, "reply_to", _referenced(values, "replied_to"))
    for name, paths in PATHS.items():
        _put(found, name, _first(values, (*more.get(name, ()), *paths)))
    for name, value in _flags(values, found.get("text")):
        _put(found, name, value)
    for name in sorted(more.keys() - PATHS.keys() - IDS.keys()):
        _put(found, name, _first(values, (*more[name], name), any_value=True))
    return found


def _put(target: dict[str, Any], name: str, value: Any) -> None:  # noqa: ANN401
    if value is None:
        return
    *parents, last = name.split(".")
    for parent in parents:
        below = target.setdefault(parent, {})
        if not isinstance(below, dict):
            return
        target = below
    target[last] = value


def _first(values: Mapping[str, Any], paths: Sequence[str], *, any_value: bool = False) -> Any:  # noqa: ANN401
    """Return the first value that is a text or a number (or anything) and says something."""
    for path in paths:
        value = look_up(values, path)
        if value is None or value == "":
            continue
        if any_value or isinstance(value, str | int | float):
            return value
    return None


def _first_id(values: Mapping[str, Any], paths: Sequence[str]) -> str | None:
    for path in paths:
        if (text := read_id(look_up(values, path))) is not None:
            return text
    return None


def read_id(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    """Return an id as a text; None of what is none, such as a number that was rounded."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or len(value) > _LONGEST_ID:
        return None
    return value.strip() or None


def _referenced(values: Mapping[str, Any], kind: str) -> str | None:
    """Return the id that version 2 of Twitter's API names under ``referenced_tweets``."""
    for reference in _items(values.get("referenced_tweets")):
        if isinstance(reference, Mapping) and reference.get("type") == kind:
            return read_id(reference.get("id"))
    return None


def _items(value: Any) -> Sequence[Any]:  # noqa: ANN401
    return value if isinstance(value, list) else ()


def _flags(values: Mapping[str, Any], text: Any) -> Iterator[tuple[str, bool | None]]:  # noqa: ANN401
    words = text if isinstance(text, str) else ""
    said = _said(values, "is_retweet", "isRetweet")
    yield (
        "is_retweet",
        said
        or (
            any(look_up(values, path) for path in _RETWEETED)
            or _referenced(values, "retweeted") is not None
            or words.startswith("RT @")
        ),
    )
    said = _said(values, "is_quote", "isQuote", "isQuoteStatus", "is_quote_status")
    yield "is_quote", bool(said) or _referenced(values, "quoted") is not None
    yield "has_media", _has_media(values, words)
    yield "has_urls", _has_urls(values, words)


def _said(values: Mapping[str, Any], *names: str) -> bool | None:
    for name in names:
        if isinstance(value := values.get(name), bool):
            return value
    return None


def _knows_entities(values: Mapping[str, Any]) -> bool:
    return any(isinstance(look_up(values, path), Mapping) for path in _ENTITIES)


def _has_media(values: Mapping[str, Any], text: str) -> bool | None:
    """Say whether pictures or films belong to a post; None where nobody says."""
    if (said := _said(values, "has_media", "hasMedia")) is not None:
        return said
    lists = [value for path in _MEDIA if (value := look_up(values, path)) is not None]
    if any(_not_empty(value) for value in lists) or _PICTURE.search(text):
        return True
    return False if lists or _knows_entities(values) else None


def _not_empty(value: Any) -> bool:  # noqa: ANN401
    """Whether a list of media holds any; twscrape has one list for each sort of them."""
    if isinstance(value, Mapping):
        return any(bool(below) for below in value.values())
    return bool(value)


def _has_urls(values: Mapping[str, Any], text: str) -> bool:
    """Say whether a post links somewhere; the text's own t.co of a picture is no link."""
    if (said := _said(values, "has_urls", "hasUrls")) is not None:
        return said
    lists = [value for path in _LINKS if isinstance(value := look_up(values, path), list)]
    if lists or _knows_entities(values):
        return any(bool(value) for value in lists)
    return _URL.search(text) is not None
