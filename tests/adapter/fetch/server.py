"""A file server that can do everything a server on the way to an adapter does wrong."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Served:
    """One file.

    Attributes:
        data: Its content.
        etag: Sent as it is, quotes included.
        headers: Further headers.
        cuts: For each of the next answers the bytes after which the connection breaks, or None.
        statuses: For each of the next answers a status instead of the file, or None.
        ranges: Whether a rest can be asked for.
        chunked: Send no length.
    """

    data: bytes
    etag: str | None = '"one"'
    headers: dict[str, str] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    ranges: bool = True
    chunked: bool = False


@dataclass
class Request:
    """One request and how many bytes of the body were sent for it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    status: int = 0
    sent: int = 0


class FileServer(ThreadingHTTPServer):
    """Files by path, functions by prefix, and a log of what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Served] = {}
        self.routes: dict[str, Callable[[Handler, Request], None]] = {}
        self.requests: list[Request] = []
        self.headers: dict[str, str] = {}
        self.stall: threading.Event | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def sent(self, path: str) -> list[int]:
        """Bytes sent for each request of a path that was answered with some."""
        return [r.sent for r in self.requests if r.path == path and r.method == "GET"]


class Handler(BaseHTTPRequestHandler):
    """Serve files with ranges, as servers do."""

    server: FileServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""

    def handle_one_request(self) -> None:
        """Let a client that went away be no error."""
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        """Answer."""
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        headers = {k.lower(): v for k, v in self.headers.items()}
        request = Request(self.command, parts.path, headers, self.rfile.read(length))
        self.server.requests.append(request)
        route = next((r for p, r in self.server.routes.items() if parts.path.startswith(p)), None)
        if parts.path in self.server.files:
            self.serve(self.server.files[parts.path], request)
        elif route is not None:
            route(self, request)
        else:
            self.answer(404, {}, b"nothing here", request)

    do_HEAD = do_POST = do_GET

    def answer(self, status: int, headers: dict[str, str], body: bytes, request: Request) -> None:
        """Send a small answer."""
        request.status = status
        self.send_response(status)
        always = {"Content-Length": str(len(body)), **self.server.headers}
        for name, value in {**always, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: object, request: Request, status: int = 200) -> None:
        """Send JSON."""
        self.answer(
            status, {"Content-Type": "application/json"}, json.dumps(value).encode(), request
        )

    def serve(self, file: Served, request: Request) -> None:
        """Send a file or a part of it, as far as its script says."""
        status = file.statuses.pop(0) if file.statuses and self.command == "GET" else None
        if status is not None:
            self.answer(status, file.headers, b"", request)
            return
        start = self._start(file)
        if start is not None and start >= len(file.data):
            self.answer(416, {"Content-Range": f"bytes */{len(file.data)}"}, b"", request)
            return
        body = file.data[start or 0 :]
        request.status = 200 if start is None else 206
        self.send_response(request.status)
        for name, value in file.headers.items():
            self.send_header(name, value)
        if file.etag:
            self.send_header("ETag", file.etag)
        if start is not None:
            end = len(file.data) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(file.data)}")
        if file.chunked:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self._send(body, file.cuts.pop(0) if file.cuts else None, request)
        if file.chunked:
            self.close_connection = True

    def _start(self, file: Served) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if match is None or not file.ranges:
            return None
        wanted = self.headers.get("If-Range")
        modified = file.headers.get("Last-Modified")
        return int(match[1]) if wanted in (None, file.etag, modified) else None

    def _send(self, body: bytes, cut: int | None, request: Request) -> None:
        end = len(body) if cut is None else cut
        for offset in range(0, end, 1 << 16):
            block = body[offset : min(offset + (1 << 16), end)]
            self.wfile.write(block)
            request.sent += len(block)
        if cut is not None:
            self.wfile.flush()
            if self.server.stall is not None:
                self.server.stall.wait(60)
            self.close_connection = True
            self.connection.shutdown(2)


@contextmanager
def serving() -> Iterator[FileServer]:
    """Run a server in a thread."""
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            if server.stall is not None:
                server.stall.set()
            server.shutdown()
            thread.join()
