"""Tweets of every source read under the same names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragraft.dataset.tweets import IDS, PATHS, read_id, read_tweet

APIFY = {
    "type": "tweet",
    "id": "1700000000000000002",
    "url": "https://x.com/tern/status/1700000000000000002",
    "text": "@gull The tide table says otherwise.",
    "createdAt": "Wed Oct 10 20:19:24 +0000 2018",
    "lang": "en",
    "likeCount": 7,
    "retweetCount": 1,
    "replyCount": 0,
    "quoteCount": 0,
    "viewCount": 310,
    "isReply": True,
    "isRetweet": False,
    "isQuote": False,
    "inReplyToId": "1700000000000000001",
    "conversationId": "1700000000000000001",
    "author": {"id": "21", "userName": "tern", "name": "A tern", "followers": 900},
    "entities": {"urls": [], "hashtags": []},
    "extendedEntities": {},
}
TWSCRAPE = {
    "id": 1700000000000000002,
    "id_str": "1700000000000000002",
    "url": "https://x.com/tern/status/1700000000000000002",
    "date": "2018-10-10 20:19:24+00:00",
    "user": {
        "id": 21,
        "id_str": "21",
        "username": "tern",
        "displayname": "A tern",
        "followersCount": 900,
    },
    "lang": "en",
    "rawContent": "@gull The tide table says otherwise.",
    "replyCount": 0,
    "retweetCount": 1,
    "likeCount": 7,
    "quoteCount": 0,
    "viewCount": 310,
    "conversationId": 1700000000000000001,
    "conversationIdStr": "1700000000000000001",
    "links": [],
    "media": {"photos": [], "videos": [], "animated": []},
    "retweetedTweet": None,
    "quotedTweet": None,
    "inReplyToTweetId": 1700000000000000001,
    "inReplyToTweetIdStr": "1700000000000000001",
    "isQuoteStatus": False,
}
VERSION_1 = {
    "id": 1700000000000000000,  # as JavaScript rounds it
    "id_str": "1700000000000000002",
    "full_text": "@gull The tide table says otherwise.",
    "created_at": "Wed Oct 10 20:19:24 +0000 2018",
    "lang": "en",
    "favorite_count": 7,
    "retweet_count": 1,
    "in_reply_to_status_id": 1700000000000000000,
    "in_reply_to_status_id_str": "1700000000000000001",
    "is_quote_status": False,
    "entities": {"urls": [], "user_mentions": []},
    "user": {"id_str": "21", "screen_name": "tern", "name": "A tern", "followers_count": 900},
}
VERSION_2 = {
    "id": "1700000000000000002",
    "text": "@gull The tide table says otherwise.",
    "created_at": "2018-10-10T20:19:24.000Z",
    "lang": "en",
    "author_id": "21",
    "public_metrics": {"like_count": 7, "retweet_count": 1, "reply_count": 0, "quote_count": 0},
    "referenced_tweets": [{"type": "replied_to", "id": "1700000000000000001"}],
    "entities": {},
}


@pytest.mark.parametrize("raw", [APIFY, TWSCRAPE, VERSION_1, VERSION_2])
def test_every_source_reads_the_same(raw: dict[str, Any]) -> None:
    tweet = read_tweet(raw)
    assert tweet["id"] == "1700000000000000002"
    assert tweet["reply_to"] == "1700000000000000001"
    assert tweet["text"] == "@gull The tide table says otherwise."
    assert (tweet["likes"], tweet["retweets"], tweet["lang"]) == (7, 1, "en")
    assert tweet["author"]["id"] == "21"
    assert "2018" in tweet["created_at"]
    flags = ("is_retweet", "is_quote", "has_media", "has_urls")
    assert [tweet[name] for name in flags] == [False] * 4


@pytest.mark.parametrize("raw", [APIFY, TWSCRAPE, VERSION_1])
def test_sources_that_name_the_author_say_how_many_follow(raw: dict[str, Any]) -> None:
    assert read_tweet(raw)["author"] == {"id": "21", "username": "tern", "followers": 900}


def test_the_web_clients_own_wrapping_reads_too() -> None:
    author = {"rest_id": "21", "legacy": {"screen_name": "tern", "followers_count": 900}}
    raw = {
        "rest_id": "5",
        "legacy": {**VERSION_1, "id_str": "5"},
        "core": {"user_results": {"result": author}},
    }
    tweet = read_tweet(raw)
    assert (tweet["id"], tweet["likes"]) == ("5", 7)
    assert tweet["author"] == {"id": "21", "username": "tern", "followers": 900}
    assert tweet["reply_to"] == "1700000000000000001"


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        ({"media": [{"type": "photo"}]}, "has_media", True),
        ({"media": {"photos": [], "videos": [{"duration": 3}]}}, "has_media", True),
        ({"extendedEntities": {"media": [{}]}}, "has_media", True),
        ({"text": "See pic.twitter.com/abc", "extendedEntities": None}, "has_media", True),
        ({"entities": {"urls": [{"url": "https://t.co/1"}]}}, "has_urls", True),
        ({"text": "Only the picture's own https://t.co/1"}, "has_urls", False),
        ({"entities": None, "extendedEntities": None, "text": "at https://a.b"}, "has_urls", True),
        ({"isRetweet": None, "text": "RT @gull: so"}, "is_retweet", True),
        ({"retweeted_tweet": {"id": "1"}}, "is_retweet", True),
        ({"isQuote": None, "is_quote_status": True}, "is_quote", True),
    ],
)
def test_flags_come_from_whatever_says_them(more: dict[str, Any], name: str, value: bool) -> None:
    assert read_tweet({**APIFY, **more})[name] is value


def test_media_stay_unsaid_where_nobody_says() -> None:
    tweet = read_tweet({"id": "1", "text": "Fog again."})
    assert "has_media" not in tweet
    assert tweet["has_urls"] is False


def test_a_number_that_was_rounded_is_no_id() -> None:
    assert read_id(1.7e18) is None
    assert read_id(True) is None
    assert read_id(" 12 ") == "12"
    assert read_id("") is None
    assert read_id("x" * 5000) is None
    assert "reply_to" not in read_tweet({"id": "2", "inReplyToId": 1.7e18})


def test_paths_of_ones_own_come_first_and_new_names_may_hold_anything() -> None:
    raw = {**APIFY, "stats": {"hearts": "1.2K"}, "topics": ["sea"]}
    tweet = read_tweet(raw, {"likes": ["stats.hearts"], "topics": ["topics"]})
    assert (tweet["likes"], tweet["topics"]) == ("1.2K", ["sea"])


def test_a_name_with_dots_in_it_is_found() -> None:
    assert read_tweet({"id": "1", "author.followers": 12})["author"]["followers"] == 12


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES = sorted(
    {path.split(".")[0] for table in (PATHS, IDS) for paths in table.values() for path in paths}
    | {"entities", "media", "extendedEntities", "isRetweet", "referenced_tweets", "links"}
)


@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=12))
def test_any_values_read_and_reading_again_changes_nothing(raw: dict[str, Any]) -> None:
    tweet = read_tweet(raw)
    json.dumps(tweet)
    assert read_tweet(tweet) == tweet
