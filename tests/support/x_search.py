"""X's search, as far as twscrape asks it: pages of invented posts behind cursors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.local_server import serve

AUTH, CSRF = "5a0dau7hc00kie0fnobody", "c5rfc00kie0fnobody"
TIME = "Wed Oct 10 20:19:24 +0000 2018"


class XSearch:
    """What a test may look at and change while the server runs.

    Attributes:
        url: Its address.
        results: Ids of posts by query.
        size: Posts of a page.
        requests: Query, cursor and cookies of each request.
        faults: Answers (status, headers, body) to give first.
        forgotten: Cursors that are no longer known: they give empty pages.
    """

    def __init__(self) -> None:
        """Begin without posts."""
        self.url = ""
        self.results: dict[str, list[int]] = {}
        self.size = 4
        self.requests: list[tuple[str, str | None, str]] = []
        self.faults: list[tuple[int, dict[str, str], Any]] = []
        self.forgotten: set[str] = set()

    def respond(self, variables: dict[str, Any], cookies: str) -> tuple[int, dict[str, str], Any]:
        """Answer one search."""
        query, cursor = variables["rawQuery"], variables.get("cursor")
        self.requests.append((query, cursor, cookies))
        if self.faults:
            return self.faults.pop(0)
        start = int(cursor.rpartition("-")[2]) if cursor else 0
        found = self.results.get(query, [])[start : start + self.size]
        if cursor in self.forgotten:
            found = []
        behind = f"{abs(hash(query)) % 1000}-{start + len(found)}"
        return 200, {}, timeline([post(number) for number in found], behind)


def timeline(posts: list[dict[str, Any]], cursor: str) -> dict[str, Any]:
    """Return an answer of the search."""
    entries: list[dict[str, Any]] = [
        {
            "entryId": f"tweet-{one['rest_id']}",
            "content": {"itemContent": {"tweet_results": {"result": one}}},
        }
        for one in posts
    ]
    content = {"cursorType": "Bottom", "value": cursor}
    entries.append({"entryId": "cursor-bottom-0", "content": content})
    instructions = [{"type": "TimelineAddEntries", "entries": entries}]
    found = {"search_timeline": {"timeline": {"instructions": instructions}}}
    return {"data": {"search_by_raw_query": found}}


def post(number: int) -> dict[str, Any]:
    """Return a post as X's web client gets it."""
    user = {"screen_name": f"gauge{number % 7}", "name": "A gauge", "created_at": TIME}
    author = {
        "__typename": "User", "rest_id": str(number % 7 + 1), "core": user,
        "legacy": {"followers_count": 300 + number},
    }  # fmt: skip
    said = {
        "created_at": TIME, "full_text": f"Tide {number} is high.", "lang": "en",
        "favorite_count": number, "retweet_count": 1, "reply_count": 0, "quote_count": 0,
        "conversation_id_str": str(number), "id_str": str(number), "entities": {},
        "user_id_str": str(number % 7 + 1),
        **({"in_reply_to_status_id_str": str(number - 1)} if number % 3 == 0 else {}),
    }  # fmt: skip
    return {"__typename": "Tweet", "rest_id": str(number), "legacy": said,
            "core": {"user_results": {"result": author}}}  # fmt: skip


def make_accounts(path: Path, *names: str) -> Path:
    """Write a database of accounts by the package's own pool."""
    from twscrape import AccountsPool

    async def add() -> None:
        pool = AccountsPool(str(path))
        for name in names:
            await pool.add_account_cookies(name, f"auth_token={AUTH}{name}; ct0={CSRF}{name}")

    asyncio.run(add())
    return path


@contextmanager
def x_search() -> Iterator[XSearch]:
    """Serve while the block runs."""
    owner = XSearch()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            variables = json.loads(query["variables"][0])
            status, headers, body = owner.respond(variables, self.headers.get("cookie", ""))
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with serve(Handler) as owner.url:
        yield owner
