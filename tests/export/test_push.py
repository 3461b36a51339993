"""The Hub is a small server of our own that speaks its four endpoints."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loragraft.artifact.checksums import write_checksums
from loragraft.artifact.child import child_environment
from loragraft.artifact.hashing import sha256_file
from loragraft.errors import BundleError, InputError
from loragraft.export.push import push_bundle

TOKEN = "hf_testtoken"


class Hub(ThreadingHTTPServer):
    """What arrived, and how the server is to misbehave."""

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.commit: list[dict[str, Any]] = []
        self.status = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """The endpoints that an upload needs."""

    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""

    def body(self) -> bytes:
        """Read what was sent."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, value: object, status: int = 200) -> None:
        """Send JSON."""
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        """Answer questions about the repository."""
        self.server.calls.append(f"GET {self.path}")
        self.answer({"sha": "0" * 40, "siblings": [], "id": "me/model"})

    def do_PUT(self) -> None:
        """Take a large file."""
        self.server.calls.append("PUT")
        self.server.blobs[self.path.rsplit("/", 1)[1]] = self.body()
        self.answer({})

    def do_POST(self) -> None:
        """Speak the endpoints of creating, uploading and committing."""
        body, path = self.body(), self.path.split("?")[0]
        self.server.calls.append(f"POST {self.path}")
        if self.server.status:
            self.answer({"error": "as the test asked"}, self.server.status)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "Invalid username or password."}, 401)
        elif path == "/api/repos/create":
            self.answer({"url": f"{self.server.url}/me/model", "id": "me/model"})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(".gguf") else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            self.answer({"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {
                    "oid": item["oid"],
                    "size": item["size"],
                    "authenticated": True,
                    "actions": {"upload": {"href": f"{self.server.url}/blob/{item['oid']}"}},
                }
                for item in json.loads(body)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self.server.commit = [json.loads(line) for line in body.splitlines()]
            url = f"{self.server.url}/me/model/commit/abc"
            pull = f"{self.server.url}/me/model/discussions/1"
            self.answer({"commitUrl": url, "commitOid": "abc", "pullRequestUrl": pull})
        else:
            self.answer({})


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.Q4_K_M.gguf").write_bytes(b"GGUF" + bytes(5000))
    (folder / "Modelfile").write_text("FROM ./model.Q4_K_M.gguf\n")
    (folder / "odd [name].txt").write_text("text")
    (folder / ".hidden").write_text("not listed")
    names = ("model.Q4_K_M.gguf", "Modelfile", "odd [name].txt")
    write_checksums(folder, {name: sha256_file(folder / name) for name in names})
    return folder


PROGRAM = """
import json, sys
from pathlib import Path
from loragraft.errors import LoragraftError
from loragraft.export.push import push_bundle
options = json.loads(sys.argv[2])
try:
    options = {"repo_id": "me/model", **options}
    print(json.dumps(push_bundle(Path(sys.argv[1]), **options).to_json()))
except LoragraftError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def push(
    bundle: Path,
    endpoint: str,
    token: str | None = TOKEN,
    offline: bool = False,
    **options: object,
) -> str:
    """Push in a process of its own: huggingface_hub reads its settings on import."""
    environment = {
        **child_environment(),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(bundle.parent / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        environment.pop(name, None)
    if token:
        environment["HF_TOKEN"] = token
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    environment.update({k: v for k, v in os.environ.items() if k == "PATH"})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle), json.dumps(options)],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout or done.stderr


def committed(hub: Hub) -> dict[str, bytes]:
    """The files of the commit, large ones from the blobs they point at."""
    files: dict[str, bytes] = {}
    for line in hub.commit:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = hub.blobs[value["oid"]]
    return files


def test_a_bundle_arrives_whole_and_alone(hub: Hub, bundle: Path) -> None:
    report = json.loads(push(bundle, hub.url, private=True))
    assert report["url"].endswith("/commit/abc")
    expected = {p.name: p.read_bytes() for p in bundle.iterdir() if p.name != ".hidden"}
    assert committed(hub) == expected
    assert {f["name"]: f["bytes"] for f in report["files"]} == {
        k: len(v) for k, v in expected.items()
    }


def test_a_branch_or_a_pull_request(hub: Hub, bundle: Path) -> None:
    push(bundle, hub.url, revision="try")
    assert any("/branch/try" in call for call in hub.calls)
    assert any("/commit/try" in call for call in hub.calls)
    report = json.loads(push(bundle, hub.url, create_pr=True))
    assert report["url"].endswith("/discussions/1")


def test_a_dry_run_sends_nothing(hub: Hub, bundle: Path) -> None:
    report = json.loads(push(bundle, hub.url, token=None, dry_run=True))
    assert report["dry_run"]
    assert len(report["files"]) == 4
    assert hub.calls == []


def test_no_token(hub: Hub, bundle: Path) -> None:
    assert "UnavailableError: There is no Hugging Face token" in push(bundle, hub.url, token=None)
    assert hub.calls == []


def test_a_refused_token(hub: Hub, bundle: Path) -> None:
    said = push(bundle, hub.url, token="hf_wrong")
    assert said.startswith("UnavailableError: The Hub refuses the token (401)")
    assert "hf auth login" in said
    assert "hf_wrong" not in said


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "may not write to me/model"),
        (404, "not there, or hidden"),
        (400, "refuses the upload"),
        (429, "The Hub answers 429 for me/model"),
        (500, "Try again later: files that arrived are not sent twice"),
    ],
)
def test_refusals(hub: Hub, bundle: Path, status: int, words: str) -> None:
    hub.status = status
    assert words in push(bundle, hub.url)


def test_no_network(bundle: Path) -> None:
    assert "UnavailableError: The Hub cannot be reached" in push(bundle, "http://127.0.0.1:9")


def test_offline_mode_is_named(hub: Hub, bundle: Path) -> None:
    said = push(bundle, hub.url, offline=True)
    assert said.startswith("UnavailableError: HF_HUB_OFFLINE is set")
    assert hub.calls == []


def test_a_name_that_the_hub_forbids_is_refused(hub: Hub, bundle: Path) -> None:
    said = push(bundle, hub.url, repo_id="me/a--b")
    assert said.startswith("InputError: 'me/a--b' is no repository name:")
    assert hub.calls == []


def test_a_changed_bundle_is_not_sent(bundle: Path) -> None:
    (bundle / "Modelfile").write_text("FROM elsewhere\n")
    with pytest.raises(BundleError, match=r"not as it was exported: Modelfile has SHA-256"):
        push_bundle(bundle, "me/model", dry_run=True)


@pytest.mark.parametrize("name", ["", "a/b/c", "../x", "a b", "/model", "https://x/y"])
def test_a_malformed_repository_is_refused(bundle: Path, name: str) -> None:
    with pytest.raises(InputError, match="no repository name"):
        push_bundle(bundle, name, dry_run=True)
