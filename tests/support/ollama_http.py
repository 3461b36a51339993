"""HTTP of the stand-in for Ollama."""

from __future__ import annotations

import hashlib
import json
import select
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from tests.support.ollama_store import Refused

if TYPE_CHECKING:
    from tests.support.ollama_server import OllamaStandIn

Json = dict[str, Any]


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for the server."""

    protocol_version = "HTTP/1.1"
    server_of: OllamaStandIn

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Look for a blob."""
        self._serve("HEAD")

    def do_GET(self) -> None:
        """Answer a question."""
        self._serve("GET")

    def do_POST(self) -> None:
        """Do something."""
        self._serve("POST")

    def do_DELETE(self) -> None:
        """Remove something."""
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        owner = self.server_of
        owner.requests.append((method, self.path))
        try:
            if self._broken(method):
                return
            self._route(method)
        except Refused as error:
            self._json(error.status, {"error": error.words})
        except (BrokenPipeError, ConnectionResetError, ValueError):  # closed, here or there
            self.close_connection = True

    def _broken(self, method: str) -> bool:
        """Answer as something that is no Ollama, or not at all."""
        faults, path = self.server_of.faults, self.path
        if path in faults.get("no_endpoint", ()):
            self._drain()
            self._plain(404, b"404 page not found", "text/plain")
        elif "html" in faults:
            self._drain()
            self._plain(faults["html"], b"<!DOCTYPE html><html>login</html>", "text/html")
        elif "no_json" in faults:
            self._plain(200, faults["no_json"], "application/json")
        elif "redirect" in faults:
            self._drain()
            self.send_response(307)
            self.send_header("Location", faults["redirect"])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path == faults.get("hang"):
            self.server_of.ended.wait(20)
            self.close_connection = True
        elif self.server_of.faults.get("busy") and self.server_of.take("busy"):
            self._drain()
            self._json(503, {"error": "server busy, please try again"})
        else:
            return False
        return True

    def _route(self, method: str) -> None:
        if self.path.startswith("/api/blobs/"):
            self._blob(method, self.path.removeprefix("/api/blobs/"))
            return
        routes: dict[tuple[str, str], Callable[[], None]] = {
            ("GET", "/api/version"): self._version,
            ("GET", "/api/tags"): lambda: self._json(200, {"models": self.server_of.store.list()}),
            ("GET", "/api/ps"): lambda: self._json(200, {"models": []}),
            ("POST", "/api/show"): self._show,
            ("POST", "/api/create"): self._create,
            ("POST", "/api/copy"): self._copy,
            ("DELETE", "/api/delete"): self._delete,
            ("POST", "/api/chat"): self._chat,
            ("POST", "/api/generate"): self._generate,
        }
        route = routes.get((method, self.path))
        if route is None:
            self._drain()
            self._plain(404, b"404 page not found", "text/plain")
        else:
            route()

    def _version(self) -> None:
        self._json(200, {"version": self.server_of.generation.version})

    def _show(self) -> None:
        body = self._body()
        shown = self.server_of.store.show(body["model"], verbose=body.get("verbose") is True)
        if change := self.server_of.faults.get("show"):
            shown = change(shown)
        self._json(200, shown)

    def _copy(self) -> None:
        body = self._body()
        if self.server_of.take("copy_refused"):
            raise Refused(500, "copy went wrong")
        self.server_of.store.copy(body["source"], body["destination"])
        self._json(200, {})

    def _delete(self) -> None:
        self.server_of.store.delete(self._body()["model"])
        self._json(200, {})

    def _generate(self) -> None:
        """Continue a plain prompt; without one, free the model's memory."""
        body = self._body()
        if "prompt" in body:
            self._stream(self.server_of.chat(body), whole=body.get("stream") is False)
        else:
            self._json(200, {"model": body["model"], "done": True, "done_reason": "unload"})

    def _create(self) -> None:
        body = self._body()
        self._stream(self.server_of.create(body), whole=body.get("stream") is False)

    def _chat(self) -> None:
        body, faults = self._body(), self.server_of.faults
        if faults.get("huge_line"):
            self._huge()
            return
        fault = self.server_of.take_for(body)
        if fault == "hang":
            self.server_of.ended.wait(20)
            self.close_connection = True
        elif fault == "garbage":
            self._plain(200, b"<html>", "text/html")
        elif fault == "busy":
            raise Refused(503, "server busy, please try again")
        elif fault in ("die", "crash"):
            self._break(fault)
        else:
            self._stream(self.server_of.chat(body), whole=body.get("stream") is False)

    def _break(self, fault: str) -> None:
        """Begin an answer, and end it in the middle."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk({"message": {"role": "assistant", "content": "All"}, "done": False})
        if fault == "crash":
            self._chunk({"error": "llama runner process has terminated: signal: killed"})
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def _huge(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        for _ in range(64):
            self.wfile.write(b"x" * (1 << 20))

    def _stream(self, pieces: Iterator[Json], *, whole: bool) -> None:
        if whole:
            self._json(200, _join(list(pieces)))
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        faults = self.server_of.faults
        try:
            for number, piece in enumerate(pieces):
                self._chunk(piece)
                if number == 1 and self.path == faults.get("cut_after_two"):
                    self.close_connection = True
                    return
                if number == 1 and self.path == faults.get("hang_after_two"):
                    select.select([self.connection], [], [], 20)  # until the client hangs up
                if number == 1 and self.path == faults.get("fail_after_two"):
                    raise Refused(500, "llama runner process has terminated: signal: killed")
                if number > 1 and faults.get("slow"):
                    time.sleep(faults["slow"])
        except Refused as error:
            self._chunk({"error": error.words})
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, piece: Json) -> None:
        data = json.dumps(piece).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _blob(self, method: str, digest: str) -> None:
        owner = self.server_of
        path = owner.store.blob(digest)
        if method == "HEAD":
            self._plain(200 if path.exists() else 404, b"", "text/plain")
            return
        if owner.take("upload_full"):
            self.rfile.read(1000)
            self.close_connection = True
            raise Refused(500, f"write {path}-partial: no space left on device")
        if owner.take("upload_cut"):
            self.rfile.read(1000)
            self.close_connection = True
            self.connection.close()
            return
        data = self._drain()
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if owner.take("upload_digest"):
            found = f"sha256:{'0' * 64}"
        if found != digest:
            raise Refused(400, f'digest mismatch, expected "{digest}", got "{found}"')
        if owner.take("corrupt_blob"):
            half = len(data) * 3 // 4
            data = (
                data[:half]
                + bytes(byte ^ 0x55 for byte in data[half : half + 200_000])
                + (data[half + 200_000 :])
            )
        if not owner.take("upload_lost"):
            path.write_bytes(data)
        self._plain(201, b"", "text/plain")

    def _body(self) -> Json:
        body: Json = json.loads(self._drain())
        self.server_of.bodies.append(body)
        return body

    def _drain(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, status: int, value: Json) -> None:
        self._plain(status, json.dumps(value).encode(), "application/json")

    def _plain(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _join(pieces: list[Json]) -> Json:
    """Make one answer of its pieces, as "stream": false does."""
    last = dict(pieces[-1])
    if "response" in last:
        last["response"] = "".join(piece["response"] for piece in pieces)
    elif "message" in last:
        text = "".join(piece["message"]["content"] for piece in pieces)
        last["message"] = {"role": "assistant", "content": text}
    logged = [entry for piece in pieces for entry in piece.get("logprobs", [])]
    if logged:
        last["logprobs"] = logged
    return last
