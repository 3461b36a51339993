"""A Hub of our own: the endpoints that huggingface_hub calls for a snapshot and a search."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from loragraft.artifact.child import child_environment
from tests.adapter.fetch.server import FileServer, Handler, Request, Served

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 10_000
"""Bytes from which a file is stored as LFS does, with its SHA-256 for a name."""

PROGRAM = """
import json, sys
from pathlib import Path
from loragraft.adapter.fetch import Limits, Retry, fetch
from loragraft.errors import LoragraftError
options = {"retry": Retry(first=0.01), **json.loads(sys.argv[3])}
if "limits" in options:
    options["limits"] = Limits(**options["limits"])
try:
    print(json.dumps(fetch(sys.argv[1], Path(sys.argv[2]), **options).to_json()))
except LoragraftError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


class Hub:
    """One repository, ``owner/name``, on a file server."""

    def __init__(self, server: FileServer, files: dict[str, bytes], kind: str = "model") -> None:
        """Serve the files of one commit."""
        self.server, self.files, self.kind = server, files, kind
        self.refusal: tuple[int, str] | None = None
        self.corrupt: set[str] = set()
        self.blobs = {name: Served(data) for name, data in files.items()}
        server.routes[f"/api/{kind}s/owner/name"] = self._api
        prefix = "" if kind == "model" else f"/{kind}s"
        server.routes[f"{prefix}/owner/name/resolve/"] = self._resolve
        server.routes["/cdn/"] = self._cdn

    def _siblings(self) -> list[dict[str, Any]]:
        found = []
        for name, data in self.files.items():
            item: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob_id(data)}
            if len(data) >= LARGE:
                item["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 130}
            found.append(item)
        return found

    def _api(self, handler: Handler, request: Request) -> None:
        if self.refusal is not None:
            status, code = self.refusal
            handler.answer(status, {"X-Error-Code": code}, b"", request)
        elif "/tree/" in request.path:
            tree = [
                {"type": "file", "path": s["rfilename"], "size": s["size"], "oid": s["blobId"]}
                | ({"lfs": {**s["lfs"], "oid": s["lfs"]["sha256"]}} if "lfs" in s else {})
                for s in self._siblings()
            ]
            handler.answer_json(tree, request)
        else:
            body = {"id": "owner/name", "sha": COMMIT, "siblings": self._siblings(),
                    "lastModified": "2025-03-04T05:06:07.000Z", "private": False,
                    "tags": [], "downloads": 3, "likes": 1}  # fmt: skip
            handler.answer_json(body, request)

    def _resolve(self, handler: Handler, request: Request) -> None:
        name = unquote(request.path.partition("/resolve/")[2].partition("/")[2])
        data = self.files[name]
        large = len(data) >= LARGE
        headers = {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if large:
            headers["X-Linked-Size"] = str(len(data))
            headers["X-Linked-ETag"] = f'"{sha256(data)}"'
            headers["Location"] = f"http://localhost:{self.server.server_port}/cdn/{name}"
            handler.answer(302, headers, b"", request)
            return
        served = self.blobs[name]
        served.etag, served.headers = f'"{blob_id(data)}"', headers
        served.data = self._content(name)
        handler.serve(served, request)

    def _cdn(self, handler: Handler, request: Request) -> None:
        name = unquote(request.path.removeprefix("/cdn/"))
        served = self.blobs[name]
        served.data = self._content(name)
        handler.serve(served, request)

    def _content(self, name: str) -> bytes:
        data = self.files[name]
        return data[:-1] + bytes([data[-1] ^ 1]) if name in self.corrupt else data

    def sent(self, name: str) -> list[int]:
        """Bytes sent for each request of a large file."""
        return self.server.sent(f"/cdn/{name}")


def sha256(data: bytes) -> str:
    """Return a hash as LFS names blobs."""
    return hashlib.sha256(data).hexdigest()


def blob_id(data: bytes) -> str:
    """Return a hash as git names blobs."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def hub_environment(endpoint: str, home: Path, **settings: str) -> dict[str, str]:
    """Return an environment in which the Hub's client asks our server."""
    clean = {k: v for k, v in child_environment().items() if not k.startswith(("HF_", "HUGGING"))}
    return {
        **clean,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "huggingface"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "PATH": os.environ.get("PATH", ""),
        **settings,
    }


def start_fetch(
    source: str, out: Path, environment: dict[str, str], **options: object
) -> subprocess.Popen[str]:
    """Fetch in a process of its own: the clients read their settings when they are imported."""
    command = [sys.executable, "-c", PROGRAM, source, str(out), json.dumps(options)]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a fetch and return its report, or the error it ended with."""
    stdout, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stderr, stderr
    value: dict[str, Any] = json.loads(stdout)  # and nothing else
    return value
