"""An HTTP server that embeds for real, by a static model, as OpenAI's and Ollama's APIs do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from loragraft.embedding.protocol import Embedder
from tests.support.local_server import serve


class EmbeddingServer:
    """What a test may look at and change while the server runs.

    Attributes:
        url: Its address.
        embedder: What computes.
        failures: Statuses to answer first, one a request.
        requests: Bodies and headers of all requests.
        answer: Replaces the answer where set.
        longest: Texts of more characters are refused.
    """

    def __init__(self, embedder: Embedder) -> None:
        """Begin without faults."""
        self.url, self.embedder = "", embedder
        self.failures: list[int] = []
        self.requests: list[tuple[str, Any, dict[str, str]]] = []
        self.answer: Any = None
        self.longest = 10_000

    def respond(self, path: str, body: Any) -> tuple[int, Any]:  # noqa: ANN401
        """Return status and JSON of one request."""
        if self.failures:
            return self.failures.pop(0), {"error": {"message": "not now"}}
        if self.answer is not None:
            return 200, self.answer
        if path == "/api/tags":
            return 200, {"models": [{"name": "small:latest", "digest": "d1"}]}
        if body.get("model") not in ("small", "small:latest"):
            return 404, {"error": f"model '{body.get('model')}' not found"}
        if path == "/api/show":
            return 200, {"model_info": {"x.context_length": 64}, "details": {}}
        return self._embed(path, body["input"])

    def _embed(self, path: str, texts: list[str]) -> tuple[int, Any]:
        if any(len(text) > self.longest for text in texts):
            return 400, {"error": "the input length exceeds the context length"}
        vectors = (self.embedder.embed(texts) * 3).tolist()  # not of unit length
        if path == "/api/embed":
            return 200, {"embeddings": vectors}
        data = [{"index": i, "embedding": v} for i, v in enumerate(vectors)]
        return 200, {"data": data[::-1]}


@contextmanager
def embedding_server(embedder: Embedder) -> Iterator[EmbeddingServer]:
    """Serve while the block runs."""
    owner = EmbeddingServer(embedder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            size = int(self.headers.get("content-length", 0))
            self._serve(json.loads(self.rfile.read(size)))

        def _serve(self, body: Any) -> None:  # noqa: ANN401
            headers = {k.lower(): v for k, v in self.headers.items()}
            owner.requests.append((self.path, body, headers))
            status, answer = owner.respond(self.path, body)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.send_header("retry-after", "0")
            self.end_headers()
            self.wfile.write(data)

    with serve(Handler) as owner.url:
        yield owner
