"""Collection by twscrape: the real package, its accounts and its parser, against a local search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loragraft.artifact.jsonl import read_jsonl
from loragraft.cli.dataset_collect import collect as command
from loragraft.dataset.collect.request import CollectReport
from loragraft.dataset.collect.twscrape import (
    TwscrapeRequest,
    collect_twscrape,
    find_cursor,
)
from loragraft.dataset.pairs import Posts
from loragraft.dataset.tweets import read_tweet
from loragraft.errors import InputError, MissingExtraError, UnavailableError
from tests.support.collecting import Notes, rows
from tests.support.x_search import AUTH, CSRF, XSearch, make_accounts, timeline, x_search

TIDES, REEFS = list(range(100, 89, -1)), [95, 60, 59, 58, 57]


@pytest.fixture
def x(monkeypatch: pytest.MonkeyPatch) -> Iterator[XSearch]:
    """The search, and the package led to it: its address, and the id that X's own page gives."""
    import twscrape.api
    from twscrape.queue_client import XClIdGenStore
    from twscrape.xclid import XClIdGen

    with x_search() as server:
        monkeypatch.setattr(twscrape.api, "GQL_URL", server.url)
        ids = {name: XClIdGen([1, 2, 3], "key") for name in ("ada", "bob")}
        monkeypatch.setattr(XClIdGenStore, "items", ids)
        server.results = {"tides": TIDES, "reefs": REEFS}
        yield server


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    """Two accounts."""
    return make_accounts(tmp_path / "accounts.db", "ada", "bob")


def collect(out: Path, accounts: Path, **options: Any) -> CollectReport:  # noqa: ANN401
    progress = options.pop("progress", None)
    given = {"queries": ("tides", "reefs"), "wait": 0.0, **options}
    return collect_twscrape(TwscrapeRequest(out, accounts=accounts, **given), progress=progress)


def ids(out: Path) -> list[int]:
    return [row["id"] for row in rows(out)]


WHOLE = [*TIDES, 60, 59, 58, 57]


def test_searches_bring_each_post_once_in_order(x: XSearch, out: Path, accounts: Path) -> None:
    report = collect(out, accounts)
    assert ids(out) == WHOLE
    assert (report.records, report.again, report.ended, report.ok) == (15, 1, "SUCCEEDED", True)
    tweet = read_tweet(rows(out)[1])
    assert (tweet["id"], tweet["reply_to"], tweet["text"]) == ("99", "98", "Tide 99 is high.")
    assert tweet["author"] == {"id": "2", "username": "gauge1", "followers": 399}
    assert (tweet["likes"], tweet["has_media"], tweet["has_urls"]) == (99, False, False)
    assert f"auth_token={AUTH}ada" in x.requests[0][2]


@pytest.mark.parametrize(("page", "kept"), [(1, 4), (2, 8), (3, 11), (4, 14), (5, 15)])
def test_broken_off_at_any_page_and_resumed_it_ends_the_same(
    x: XSearch, out: Path, accounts: Path, page: int, kept: int
) -> None:
    class BrokenOff(Notes):
        left = page + 1  # the first call tells what was there

        def advance(self, count: int) -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(out, accounts, progress=BrokenOff())
    asked = len(x.requests)
    report = collect(out, accounts, resume=True)
    assert ids(out) == WHOLE
    assert report.new == len(WHOLE) - kept
    assert x.requests[asked][1] is not None  # a cursor: nothing is asked for twice
    assert collect(out, accounts, resume=True).new == 0


def test_a_cursor_that_x_forgot_begins_the_search_anew(
    x: XSearch, out: Path, accounts: Path
) -> None:
    collect(out, accounts, target=8, queries=("tides",))
    x.forgotten = {cursor for _, cursor, _ in x.requests if cursor}
    x.forgotten |= {f"{text.rpartition('-')[0]}-8" for text in x.forgotten}
    x.results["tides"] = [101, *TIDES]
    collect(out, accounts, queries=("tides",), resume=True)
    assert ids(out)[:8] == TIDES[:8]
    assert 101 in ids(out)


def test_the_target_ends_it_and_a_higher_one_goes_on(x: XSearch, out: Path, accounts: Path) -> None:
    report = collect(out, accounts, target=6)
    assert (ids(out), report.ended) == (TIDES[:6], "target reached")
    asked = len(x.requests)
    assert collect(out, accounts, target=6, resume=True).new == 0
    assert len(x.requests) == asked
    collect(out, accounts, target=9, resume=True)
    assert ids(out) == TIDES[:9]
    collect(out, accounts, resume=True)
    assert ids(out) == WHOLE


BAD = {"errors": [{"code": 32, "message": f"Could not authenticate {AUTH}ada you"}]}
DENIED = {"errors": [{"code": 326, "message": "Authorization: Denied by access control"}]}
LIMIT = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "9999999999"}


def test_an_account_at_its_limits_gives_way_to_another(
    x: XSearch, out: Path, accounts: Path
) -> None:
    x.faults = [(429, LIMIT, {})]
    collect(out, accounts)
    assert ids(out) == WHOLE
    assert f"{AUTH}bob" in x.requests[-1][2]


def test_all_accounts_at_their_limits_are_told(x: XSearch, out: Path, accounts: Path) -> None:
    x.faults = [(200, {}, timeline([], "x-0")), (429, LIMIT, {}), (429, LIMIT, {})]
    with pytest.raises(UnavailableError, match=r"all accounts are at X's limits.*--resume"):
        collect(out, accounts)
    assert not out.exists()


def test_a_search_that_trouble_ended_is_no_success(x: XSearch, out: Path, accounts: Path) -> None:
    x.faults = [(403, {"content-type": "text/html"}, "blocked")]
    with pytest.raises(UnavailableError, match=r"ended early: Blocked by HTML: 403.*--resume"):
        collect(out, accounts)
    assert not out.exists()
    collect(out, accounts, resume=True)
    assert ids(out) == WHOLE


def test_no_cookie_is_told_or_written(
    x: XSearch, out: Path, accounts: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    x.faults = [(200, {}, BAD), (200, {}, DENIED)]
    progress, told = Notes(), ""
    try:
        collect(out, accounts, progress=progress)
    except UnavailableError as error:
        told = f"{error!r} {error}"
    assert told
    texts = [told, *progress.notes, *capfd.readouterr()]
    assert any("Could not authenticate [key removed] you" in text for text in texts)
    assert not any(secret in text for text in texts for secret in (AUTH, CSRF))
    for path in out.parent.iterdir():
        if path != accounts:
            assert AUTH.encode() not in path.read_bytes()
            assert CSRF.encode() not in path.read_bytes()


def test_accounts_that_are_none_are_told(
    x: XSearch, out: Path, accounts: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"does not exist. Make it with twscrape's own command"):
        collect(out, tmp_path / "none.db")
    (tmp_path / "bad.db").write_text("no database at all " * 99)
    with pytest.raises(InputError, match="is no database of twscrape's accounts"):
        collect(out, tmp_path / "bad.db")
    import sqlite3

    with sqlite3.connect(accounts) as database:
        database.execute("UPDATE accounts SET active = 0")
    with pytest.raises(InputError, match="None of the 2 accounts"):
        collect(out, accounts)
    with pytest.raises(InputError, match="Nothing says what to look for"):
        collect(out, accounts, queries=())
    assert x.requests == []


def test_a_missing_package_is_told(
    out: Path, accounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "twscrape", None)
    with pytest.raises(MissingExtraError, match=r"loragraft\[twscrape\]"):
        collect(out, accounts)


def test_the_command_collects_and_pairs_what_it_found(
    x: XSearch, out: Path, accounts: Path
) -> None:
    line = ["twscrape", "-o", str(out), "--accounts", str(accounts), "--query", "tides"]
    result = CliRunner().invoke(command, [*line, "--wait", "0"])
    assert result.exit_code == 0, result.output
    assert "11 records, 11 of them new: SUCCEEDED" in result.stdout
    assert AUTH not in result.output
    replies = ["--replies-of", str(out), "-o", str(out.with_name("more.jsonl"))]
    x.results["conversation_id:100 filter:replies"] = [102]
    result = CliRunner().invoke(command, [*line[:1], *replies, *line[3:5], "--json"])
    assert json.loads(result.stdout)["records"] == 1
    asked = {query for query, _, _ in x.requests} - {"tides"}
    posts = (100, 98, 97, 95, 94, 92, 91)  # the others are replies
    assert asked == {f"conversation_id:{number} filter:replies" for number in posts}
    with Posts(out.with_name("posts.sqlite"), out, key="k") as posts:
        posts.fill(read_jsonl(out))
        pairs = [row for line in read_jsonl(out) if (row := posts.join(line).row)]
    assert [(row["post"]["id"], row["reply"]["id"]) for row in pairs] == [
        ("98", "99"), ("95", "96"), ("92", "93"),
    ]  # fmt: skip
    bad = CliRunner().invoke(command, [*line, "--resume", "--replace"])
    assert bad.exit_code == 2


def test_cursors_are_found_wherever_they_stand() -> None:
    assert find_cursor(timeline([], "c7")) == "c7"
    assert find_cursor({"a": [{"cursorType": "Top", "value": "c"}, 3, None]}) is None
