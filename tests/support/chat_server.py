"""A local server that speaks OpenAI's chat completions and Anthropic's Messages API.

What it answers is given by a function: a real model, or a text of the test. Faults are switched on
for the next requests, or for questions that hold a text.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.chat_dialects import DIALECTS, Said
from tests.support.local_server import serve

Json = dict[str, Any]
Answering = Callable[[Json], Said]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    ``kind``: ``hang`` (nothing is said until the end), ``hang_after`` (after two pieces), ``drop``
    (the connection ends without a word), ``die`` (after two pieces), ``half`` (a clean end of HTTP
    without that of the answer), ``garbage`` (no JSON), ``page`` (a web page), ``status`` (a
    refusal), ``in_stream`` (an error among the pieces), ``filter``, ``refusal``, ``empty``,
    ``endless`` (signs of life for ever), ``huge`` (an event without end), ``redirect``.
    """

    kind: str
    status: int = 500
    words: str = "something unheard of"
    code: str | None = None
    retry_after: str | None = None


@dataclass
class ChatServer:
    """What a test may look at and change while the server runs.

    Attributes:
        answer: What it answers.
        url: Its address.
        faults: Of the next requests, one each.
        faults_for: Of requests that hold a text, one each time.
        unknown: Parameters that it refuses by name.
        requests: Path, body and headers of all requests.
        busiest: Most requests at the same time.
        streams: Whether it can answer piece by piece.
        key: Which it wants; None for none.
        ended: Set at the end, so that nothing hangs longer.
    """

    answer: Answering
    url: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    faults_for: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    unknown: set[str] = field(default_factory=set)
    requests: list[tuple[str, Json, dict[str, str]]] = field(default_factory=list)
    busiest: int = 0
    streams: bool = True
    key: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    _busy: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: Json) -> Fault | None:
        """Return what goes wrong with a request."""
        text = json.dumps(body.get("messages"))
        with self._lock:
            for mark, faults in self.faults_for.items():
                if mark in text and faults:
                    return faults.popleft()
            return self.faults.popleft() if self.faults else None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request while it is answered."""
        with self._lock:
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ChatServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.owner.requests.append((self.path, body, headers))
        try:
            with self.owner.counted():
                self._answer(body, headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, body: Json, headers: dict[str, str]) -> None:
        dialect = DIALECTS.get(self.path)
        if dialect is None:
            self._whole(404, {"error": {"message": "no such page"}})
            return
        fault = self.owner.take(body)
        if fault is not None and not self._before(fault):
            return
        if self.owner.key is not None and not dialect.has_key(headers, self.owner.key):
            said = f"Incorrect API key provided: {headers}"
            self._whole(401, dialect.error(401, said, "invalid_api_key"))
            return
        if unknown := sorted(self.owner.unknown & set(body)):
            said = f"Unrecognized request argument supplied: {unknown[0]}"
            self._whole(400, dialect.error(400, said, None, param=unknown[0]))
            return
        said = self.owner.answer(body)
        if fault is not None and fault.kind in ("filter", "refusal"):
            said = dialect.refused(said, fault.kind)
        if fault is not None and fault.kind == "empty":
            said = Said("")
        if body.get("stream") and self.owner.streams:
            self._stream(list(dialect.events(body, said)), fault, dialect)
        else:
            self._whole(200, dialect.whole(body, said))

    def _before(self, fault: Fault) -> bool:
        """Do what goes wrong before an answer; return whether there is one all the same."""
        if fault.kind == "hang":
            self.owner.ended.wait(20)
            self.close_connection = True
        elif fault.kind == "drop":
            self.close_connection = True
        elif fault.kind == "garbage":
            self._bytes(200, b'{"choices": [{"del', "application/json")
        elif fault.kind == "page":
            self._bytes(200, b"<!DOCTYPE html><html>login</html>", "text/html")
        elif fault.kind == "redirect":
            self._bytes(307, b"", "text/plain", {"location": "http://127.0.0.1:9/v1"})
        elif fault.kind == "status":
            after = {"retry-after": fault.retry_after} if fault.retry_after else {}
            value = DIALECTS[self.path].error(fault.status, fault.words, fault.code)
            self._bytes(fault.status, json.dumps(value).encode(), "application/json", after)
        else:
            return True
        return False

    def _stream(self, events: list[bytes], fault: Fault | None, dialect: Any) -> None:  # noqa: ANN401
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        kind = fault.kind if fault else ""
        for number, event in enumerate(events):
            if number == 2 and fault is not None:
                if kind == "in_stream":
                    self._chunk(dialect.error_event(fault.status, fault.words, fault.code))
                elif kind == "hang_after":
                    self.owner.ended.wait(20)
                elif kind == "huge":
                    for _ in range(64):
                        self._chunk(b"data: " + b"x" * (1 << 18))
                elif kind == "endless":
                    while not self.owner.ended.is_set():
                        self._chunk(b": still here\n\n")
                        time.sleep(0.01)
                if kind in ("die", "hang_after", "huge", "endless"):
                    self.close_connection = True
                    return
                if kind in ("half", "in_stream"):
                    break
            self._chunk(event)
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _whole(self, status: int, value: Json) -> None:
        self._bytes(status, json.dumps(value).encode(), "application/json")

    def _bytes(
        self, status: int, data: bytes, kind: str, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def chat_server(answer: Answering) -> Iterator[ChatServer]:
    """Serve while the block runs.

    Args:
        answer: Makes an answer of a request's body; see :func:`answering_by` for a real model's.
    """
    owner = ChatServer(answer)
    handler = type("Bound", (_Handler,), {"owner": owner})
    with serve(handler) as owner.url:
        try:
            yield owner
        finally:
            owner.ended.set()
