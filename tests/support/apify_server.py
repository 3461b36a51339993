"""An Apify of our own: actors, runs that go on while they are read, data sets, the errors it has.

The addresses, headers and fields are those of Apify's API, version 2, as apify-client 3 reads them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.local_server import serve

KEY = "apify_api_T3stK3yThatNobodyMayEverSee42"
TIME = "2025-06-01T12:00:00.000Z"
ACTOR_ID, ACTOR = "aCt0rId12345", "harbour/tweet-scraper"
FINISHED = ("SUCCEEDED", "FAILED", "TIMED-OUT", "ABORTED")


@dataclass
class Request:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, dict[str, str], Any]
"""Status, headers, and a body: JSON, or bytes as they are."""


@dataclass
class ServedRun:
    """A run.

    Attributes:
        id: Of the run; its data set is ``data-ID``, its store ``store-ID``.
        items: What it finds.
        given: What it was started with.
        query: The options it was started with.
        visible: How many items are stored by now.
        step: How many more there are at each look; 0 for all at once.
        end: How it ends.
        message: What it says of itself.
        usd: Cost of an item.
        lag: Looks at which a finished run's data set still lists nothing new, though it counts it.
        aborted: Whether it was stopped.
    """

    id: str
    items: list[Any]
    given: Any
    query: dict[str, str] = field(default_factory=dict)
    visible: int = 0
    step: int = 0
    end: str = "SUCCEEDED"
    message: str = "Collecting"
    usd: float | None = None
    lag: int = 0
    aborted: bool = False

    @property
    def status(self) -> str:
        """Apify's word for how it is."""
        if self.aborted:
            return "ABORTED"
        return self.end if self.visible >= len(self.items) else "RUNNING"

    def work(self) -> None:
        """Find some more."""
        if not self.aborted:
            more = self.step or len(self.items)
            self.visible = min(len(self.items), self.visible + more)

    def to_json(self) -> dict[str, Any]:
        """Return it as the API does."""
        return {
            "id": self.id, "actId": ACTOR_ID, "userId": "u1", "startedAt": TIME,
            "finishedAt": TIME if self.status in FINISHED else None, "status": self.status,
            "statusMessage": self.message, "buildId": "b1", "buildNumber": "0.0.1",
            "defaultDatasetId": f"data-{self.id}", "defaultKeyValueStoreId": f"store-{self.id}",
            "defaultRequestQueueId": f"queue-{self.id}", "meta": {"origin": "API"},
            "stats": {"computeUnits": 0.01}, "exitCode": None, "generalAccess": "RESTRICTED",
            "options": {"build": "latest", "timeoutSecs": 300, "memoryMbytes": 1024,
                        "diskMbytes": 2048},
            "usageTotalUsd": None if self.usd is None else round(self.usd * self.visible, 6),
        }  # fmt: skip

    def listed(self) -> dict[str, Any]:
        """Return it as a list of runs shows it."""
        run = self.to_json()
        shown = ("id", "actId", "status", "startedAt", "finishedAt", "buildId", "meta",
                 "defaultDatasetId", "defaultKeyValueStoreId", "defaultRequestQueueId")  # fmt: skip
        return {**{name: run[name] for name in shown}, "usageTotalUsd": 0.0}


class ApifyServer:
    """What a test may look at and change while the server runs.

    Attributes:
        url: Its address.
        requests: All that was asked.
        runs: All runs, the oldest first.
        items: What the next runs find.
        options: Attributes of the next runs.
        prices: The actor's pricing records.
        hooks: Called with each request; the first that returns an answer decides.
        before_send: Called with each request when what it asks is done and its answer is not out.
    """

    def __init__(self) -> None:
        """Begin without runs and faults."""
        self.url = ""
        self.requests: list[Request] = []
        self.runs: list[ServedRun] = []
        self.items: list[Any] = []
        self.options: dict[str, Any] = {}
        self.prices: list[dict[str, Any]] = []
        self.defaults: dict[str, Any] = {"proxy": {"useApifyProxy": True}}
        self.hooks: list[Callable[[Request], Answer | None]] = []
        self.before_send: list[Callable[[Request], object]] = []
        self._lock = threading.Lock()

    def fail(self, *answers: tuple[int, dict[str, str]], path: str = "") -> None:
        """Answer the next requests to a path with errors."""
        left = list(answers)

        def hook(request: Request) -> Answer | None:
            if path not in request.path or not left:
                return None
            status, headers = left.pop(0)
            return status, headers, error("try-later", f"Not now, says {request.path}")

        self.hooks.append(hook)

    def count(self, method: str, path: str) -> int:
        """Return how often something was asked."""
        return sum(r.method == method and path in r.path for r in self.requests)

    def respond(self, request: Request) -> Answer:
        """Answer one request."""
        with self._lock:
            self.requests.append(request)
        for hook in self.hooks:
            if (answer := hook(request)) is not None:
                return answer
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return 401, {}, error("user-or-token-not-found", "User was not found")
        with self._lock:
            return self._route(request)

    def _route(self, request: Request) -> Answer:
        parts = [unquote(part) for part in request.path.strip("/").split("/")][1:]
        if parts[0] in ("acts", "actors") and parts[1] in (ACTOR.replace("/", "~"), ACTOR_ID):
            return self._actor(request, parts[2:])
        if parts[0] == "actor-runs":
            return self._run(parts)
        for run in self.runs:
            if parts[:2] == ["datasets", f"data-{run.id}"]:
                return self._items(run, request)
            if parts[:2] == ["key-value-stores", f"store-{run.id}"]:
                return 200, {"content-type": "application/json"}, run.given
        return 404, {}, error("record-not-found", "Not found")

    def _actor(self, request: Request, rest: list[str]) -> Answer:
        if not rest:
            return 200, {}, {"data": actor(self.prices)}
        if request.method == "POST":
            run = self.start(json.loads(request.body), request.query)
            return 201, {}, {"data": run.to_json()}
        shown = self.runs[::-1] if request.query.get("desc") == "true" else self.runs
        shown = shown[: int(request.query.get("limit", 1000))]
        data = {"total": len(self.runs), "offset": 0, "limit": 1000, "desc": True,
                "count": len(shown), "items": [run.listed() for run in shown]}  # fmt: skip
        return 200, {}, {"data": data}

    def start(self, given: Any, query: dict[str, str]) -> ServedRun:  # noqa: ANN401
        """Start a run, as the platform does: an actor's defaults join its input."""
        run = ServedRun(
            f"run{len(self.runs) + 1}", list(self.items), {**self.defaults, **given}, query,
            **self.options,
        )  # fmt: skip
        self.runs.append(run)
        return run

    def _run(self, parts: list[str]) -> Answer:
        for run in self.runs:
            if run.id == parts[1]:
                if parts[2:] == ["abort"]:
                    run.aborted = True
                else:
                    run.work()
                return 200, {}, {"data": run.to_json()}
        return 404, {}, error("record-not-found", "Actor run was not found")

    def _items(self, run: ServedRun, request: Request) -> Answer:
        offset = int(request.query.get("offset", 0))
        limit = int(request.query.get("limit", 999999999999))
        shown = run.items[offset : min(offset + limit, run.visible)]
        if run.lag and run.status in FINISHED:
            run.lag, shown = run.lag - 1, []
        headers = {
            "x-apify-pagination-total": str(run.visible),
            "x-apify-pagination-offset": str(offset),
            "x-apify-pagination-count": str(len(shown)),
            "x-apify-pagination-limit": str(limit),
            "x-apify-pagination-desc": "false",
        }
        return 200, headers, shown


def error(kind: str, message: str) -> dict[str, Any]:
    """Return an error's body."""
    return {"error": {"type": kind, "message": message}}


def actor(prices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the actor as the API does."""
    owner, name = ACTOR.split("/")
    return {
        "id": ACTOR_ID, "userId": "u9", "name": name, "username": owner, "isPublic": True,
        "createdAt": TIME, "modifiedAt": TIME, "stats": {"totalRuns": 3}, "versions": [],
        "defaultRunOptions": {"build": "latest", "timeoutSecs": 3600, "memoryMbytes": 1024},
        "pricingInfos": prices,
    }  # fmt: skip


def price(model: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a pricing record."""
    return {"pricingModel": model, "apifyMarginPercentage": 0.2, "createdAt": TIME,
            "startedAt": TIME, **more}  # fmt: skip


def tweets(count: int, *, first: int = 1) -> list[dict[str, Any]]:
    """Return posts as a tweet scraper finds them, each third one a reply to the one before."""
    return [
        {
            "id": str(10**18 + number), "text": f"Tide {number}: high at {number % 24}:10, höher.",
            "createdAt": "Wed Oct 10 20:19:24 +0000 2018", "likeCount": number,
            "author": {"userName": f"gauge{number % 7}", "followers": 300 + number},
            **({"inReplyToId": str(10**18 + number - 1)} if number % 3 == 0 else {}),
        }
        for number in range(first, first + count)
    ]  # fmt: skip


@contextmanager
def apify_server() -> Iterator[ApifyServer]:
    """Serve while the block runs."""
    owner = ApifyServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # headers and body at once: in two they would wait for each other

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, parts.path, query, headers, body)
            status, more, answer = owner.respond(request)
            for done in owner.before_send:
                done(request)
            if status == 0:  # hang up without an answer
                self.close_connection = True
                return
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            try:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **more}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client was killed

        do_GET = do_POST = _serve

    with serve(Handler) as owner.url:
        yield owner
