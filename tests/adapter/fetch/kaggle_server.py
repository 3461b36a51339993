"""A Kaggle of our own, reached as a proxy: the client's addresses are fixed, its calls are real.

With ``KAGGLE_API_ENVIRONMENT=LOCALHOST`` Kaggle's client calls ``http://localhost/api/v1/...``;
with ``HTTP_PROXY`` those calls arrive here, as with any proxy.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from tests.adapter.fetch.hub_server import hub_environment
from tests.adapter.fetch.server import FileServer, Handler, Request, Served

API = "/api/v1/"
ARCHIVE = "/storage/archive.zip"


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a zip file, as Kaggle packs a dataset."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


class Kaggle:
    """One upload on a file server, and lists to search."""

    def __init__(self, server: FileServer, archive: bytes) -> None:
        """Serve an archive as version 3 of ``owner/data``."""
        self.server = server
        self.status = 0
        self.total_bytes = len(archive)
        self.links = 0
        self.calls: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.served = Served(archive, headers={"x-goog-hash": f"md5={md5(archive)}"})
        server.headers["X-Kaggle-HubVersion"] = "99.0"  # makes the client advise an upgrade
        server.routes[API] = self._api
        server.files[ARCHIVE] = self.served

    def _api(self, handler: Handler, request: Request) -> None:
        name = request.path.removeprefix(API)
        body = json.loads(request.body or b"{}")
        self.calls.append((name, body, request.headers))
        service, _, call = name.partition("/")
        if self.status:
            message = {"code": self.status, "message": "as the test asked"}
            handler.answer_json(message, request, self.status)
        elif call == "GetDataset":
            handler.answer_json(
                {"ref": "owner/data", "currentVersionNumber": 3, "totalBytes": self.total_bytes,
                 "lastUpdated": "2025-03-04T05:06:07Z"}, request,
            )  # fmt: skip
        elif call == "GetModelInstance":
            handler.answer_json({"slug": "lora", "versionNumber": 5}, request)
        elif call in ("DownloadDataset", "DownloadModelInstanceVersion"):
            self.links += 1
            address = f"{self.server.url}{ARCHIVE}?X-Goog-Signature={self.links}"
            handler.answer(302, {"Location": address}, b"", request)
        elif call in self.lists:
            key = {"ListDatasets": "datasets", "ListKernels": "kernels"}.get(call, "models")
            handler.answer_json({key: self.lists[call]}, request)
        else:
            handler.answer_json({"code": 404, "message": f"no {service}"}, request, 404)

    def asked(self, call: str) -> list[dict[str, Any]]:
        """Return what was asked of one call."""
        return [body for name, body, _ in self.calls if name.endswith(f"/{call}")]


def md5(data: bytes) -> str:
    """Return a hash as Google's storage names it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def kaggle_environment(server: FileServer, home: Path, **settings: str) -> dict[str, str]:
    """Return an environment in which Kaggle's client asks our server."""
    environment = hub_environment(server.url, home)
    clean = {k: v for k, v in environment.items() if not k.startswith("KAGGLE")}
    return {
        **clean,
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "HTTP_PROXY": server.url,
        "http_proxy": server.url,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "HOME": str(home),
        **settings,
    }
