"""An actor's input: as given, or made of a curation's protocol."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from loragraft.dataset.collect.inputs import (
    Wanted,
    actor_input,
    post_queries,
    read_input,
    read_protocol,
    reply_queries,
)
from loragraft.errors import InputError

RULES = """
protocol:
  search_queries: ["tides lang:en -filter:links", "reef min_faves:50"]
  min_likes: 200
  max_likes: 2000
  min_retweets: 10
  min_reply_likes: 5
  is_retweet: false
  has_media: false
  has_urls: false
  languages: [en]
  actor: harbour/tweet-scraper
  actor_input: {sort: Top, proxy: {useApifyProxy: true}}
"""


def rules(tmp_path: Path, text: str = RULES) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_protocol_becomes_searches(tmp_path: Path) -> None:
    wanted = read_protocol(rules(tmp_path))
    assert wanted.actor == "harbour/tweet-scraper"
    assert post_queries(wanted) == [
        "tides lang:en -filter:links min_faves:200 min_retweets:10 -filter:nativeretweets"
        " -filter:media -filter:replies",
        "reef min_faves:50 min_retweets:10 lang:en -filter:nativeretweets -filter:media"
        " -filter:links -filter:replies",
    ]
    made = actor_input(post_queries(wanted), 3500, wanted.more, {"proxy": None, "maxItems": 10})
    assert (made["sort"], made["maxItems"], "proxy" in made) == ("Top", 10, False)
    assert actor_input([], 5) == {}


def test_a_file_of_posts_becomes_searches_for_replies(tmp_path: Path) -> None:
    posts: list[Any] = [
        {"id": "1", "likeCount": 300},
        {"id": "2", "likeCount": 3},
        {"id": "3", "likeCount": 9000},
        {"id": "4", "likeCount": 300, "inReplyToId": "1"},
        {"id": "5"},
        {"id": "1", "likeCount": 300},
    ]
    path = tmp_path / "posts.jsonl"
    path.write_text("".join(json.dumps(post) + "\n" for post in posts) + "broken\n")
    wanted = read_protocol(rules(tmp_path))
    assert reply_queries(path, wanted) == [
        "conversation_id:1 filter:replies min_faves:5 lang:en",
        "conversation_id:5 filter:replies min_faves:5 lang:en",
    ]
    assert len(reply_queries(path, Wanted())) == 4
    path.write_text('{"id": "4", "inReplyToId": "1"}\n')
    with pytest.raises(InputError, match="holds no posts"):
        reply_queries(path, wanted)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: []", 'has no "protocol"'),
        ("protocol: {search_queries: tides}", "to be a list of texts"),
        ("protocol: {actor: [1]}", '"actor" to be a text'),
        ("protocol: {actor_input: 3}", '"actor_input" to be a mapping'),
    ],
)
def test_protocols_that_are_none_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_protocol(rules(tmp_path, text))


def test_an_input_is_json_a_file_or_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "input.json"
    path.write_text('{"a": 1}', encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": 1}'))
    assert read_input('{"a": 1}') == read_input(str(path)) == read_input("-") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"password": "s3cret', "--input is no JSON at line 1"),
        ("none.json", "cannot be read: No such file"),
        ("list.json", "is a JSON list; expected an object"),
        ("bytes.json", "is no JSON"),
        ("a\0b", "cannot be read"),
    ],
)
def test_inputs_that_are_none_are_refused_without_quoting_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.json").write_text("[]")
    Path("bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=words) as raised:
        read_input(text)
    assert "s3cret" not in str(raised.value)


def test_the_shipped_protocol_reads() -> None:
    shipped = Path(__file__).parents[3] / "configs" / "curation" / "twitter_replies.yaml"
    wanted = read_protocol(shipped)
    assert wanted.queries
    for query in post_queries(wanted):
        assert query.count("lang:en") == 1
        assert query.count("-filter:links") == 1
        assert "min_faves:200 min_retweets:10" in query
