"""Names become folders: paths, the Hub's cache, and what the Hub itself answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loragraft.checkpoint.resolve import (
    looks_like_repository,
    resolve_checkpoint,
    resolve_claim,
    resolve_folder,
)
from loragraft.errors import CheckpointError, InputError

_COMMIT = "0123456789abcdef0123456789abcdef01234567"
# In a process of its own: the Hub's client reads its settings once, when it is imported.
_RESOLVE = """
import sys
from pathlib import Path
from loragraft.checkpoint.resolve import resolve_checkpoint, resolve_claim
from loragraft.errors import LoragraftError
try:
    name, *revision = sys.argv[1:]
    found = resolve_claim(name, Path("a"), *revision) if revision else resolve_checkpoint(name)
    print(found.folder, found.repository, *found.notes, sep="|")
except LoragraftError as error:
    print(type(error).__name__, error, sep="|")
"""


def _resolve(name: str, home: Path, *revision: str, **settings: str) -> list[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    run = subprocess.run(
        [sys.executable, "-c", _RESOLVE, name, *revision],
        env={**clean, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip().split("|")


def _cache(home: Path, name: str, revision: str = "main", commit: str = _COMMIT) -> Path:
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / revision).write_text(commit)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").touch()
    return snapshot


def test_an_existing_folder_is_itself(tmp_path: Path) -> None:
    found = resolve_checkpoint(str(tmp_path))
    assert (found.folder, found.repository, found.notes) == (tmp_path, None, ())


@pytest.mark.parametrize("text", ["owner/name", "owner/name@main", "o.w-n/n_a.m", "o/n@refs/pr/1"])
def test_repository_names_are_recognised(text: str) -> None:
    assert looks_like_repository(text)


@pytest.mark.parametrize("text", ["name", "/a/b", "./a/b", "../b", "~/a", "a/b/c", "a b/c", ""])
def test_other_texts_are_no_repository(text: str) -> None:
    assert not looks_like_repository(text)


def test_neither_path_nor_repository_is_refused() -> None:
    with pytest.raises(InputError, match="does not exist, and it is no repository name"):
        resolve_checkpoint("./nowhere/at/all")


def test_an_adapter_without_a_claim_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not say which base"):
        resolve_claim(None, tmp_path)


def test_a_claim_that_cannot_be_found_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"trained on \./gone, which cannot be found"):
        resolve_claim("./gone", tmp_path)
    found = resolve_claim(str(tmp_path), tmp_path / "adapter")
    assert found.folder == tmp_path
    assert "own claim" in found.notes[0]


@pytest.mark.parametrize("claim", ["~nobody-of-this-name/x", "x" * 5000, "x/" * 3000, "a\0b"])
def test_a_claim_that_no_system_takes_for_a_path_is_told_so(claim: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="which cannot be found") as caught:
        resolve_claim(claim, tmp_path)
    assert len(str(caught.value)) < 1000
    with pytest.raises(InputError, match="no repository name"):
        resolve_folder(claim, ["*"], "an adapter")


def test_a_name_that_the_hub_forbids_is_refused() -> None:
    with pytest.raises(InputError, match="owner/a--b cannot name a repository"):
        resolve_checkpoint("owner/a--b")


def test_the_cache_does_without_a_network(tmp_path: Path) -> None:
    snapshot = _cache(tmp_path, "owner/name")
    folder, repository, _note = _resolve("owner/name", tmp_path, HF_HUB_OFFLINE="1")
    assert (Path(folder), repository) == (snapshot, "owner/name")


def test_a_quantized_name_leads_to_the_full_precision_base(tmp_path: Path) -> None:
    snapshot = _cache(tmp_path, "unsloth/Qwen2.5-0.5B-Instruct")
    folder, _, *notes = _resolve(
        "unsloth/Qwen2.5-0.5B-Instruct-bnb-4bit", tmp_path, HF_HUB_OFFLINE="1"
    )
    assert Path(folder) == snapshot
    assert notes[0] == (
        "unsloth/Qwen2.5-0.5B-Instruct-bnb-4bit is a bitsandbytes 4-bit copy of "
        "unsloth/Qwen2.5-0.5B-Instruct, which is taken as base"
    )


def test_a_quantized_copys_revision_is_not_asked_of_the_base(tmp_path: Path) -> None:
    snapshot = _cache(tmp_path, "unsloth/Qwen2.5-0.5B-Instruct")
    folder, _, *notes = _resolve(
        "unsloth/Qwen2.5-0.5B-Instruct-bnb-4bit@v2", tmp_path, HF_HUB_OFFLINE="1"
    )
    assert Path(folder) == snapshot
    assert notes[0].endswith(
        "at its default revision: v2 is one of unsloth/Qwen2.5-0.5B-Instruct-bnb-4bit alone"
    )


def test_the_revision_that_an_adapter_was_trained_on_is_taken(tmp_path: Path) -> None:
    main = _cache(tmp_path, "owner/name")
    early = _cache(tmp_path, "owner/name", "step-1000", "1" * 40)
    folder, _, note, _ = _resolve("owner/name", tmp_path, "", HF_HUB_OFFLINE="1")
    assert Path(folder) == main
    folder, repository, note, _ = _resolve("owner/name", tmp_path, "step-1000", HF_HUB_OFFLINE="1")
    assert (Path(folder), repository) == (early, "owner/name")
    assert note == "the base owner/name@step-1000 is the adapter's own claim"
    kind, message = _resolve("owner/name", tmp_path, "step-2000", HF_HUB_OFFLINE="1")
    assert kind == "UnavailableError"
    assert "not in the Hub's cache" in message


def test_a_local_claim_has_no_revision(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    folder, *_ = _resolve(str(tmp_path / "a" / "b"), tmp_path, "step-1000")
    assert Path(folder) == tmp_path / "a" / "b"


def test_a_cached_repository_without_weights_is_refused(tmp_path: Path) -> None:
    (_cache(tmp_path, "owner/name") / "model.safetensors").unlink()
    kind, message = _resolve("owner/name", tmp_path, HF_HUB_OFFLINE="1")
    assert kind == "CheckpointError"
    assert "no safetensors files" in message


def test_neither_cache_nor_network_is_unavailable(tmp_path: Path) -> None:
    kind, message = _resolve("owner/name", tmp_path, HF_HUB_OFFLINE="1")
    assert kind == "UnavailableError"
    assert "not in the Hub's cache" in message


_ANSWERS = {
    "gated": (403, "GatedRepo"),
    "gone": (404, "RepoNotFound"),
    "old": (404, "RevisionNotFound"),
}


_PICKLED = {
    "id": "owner/pickled",
    "sha": _COMMIT,
    "siblings": [{"rfilename": "config.json"}, {"rfilename": "pytorch_model.bin"}],
}
_TREE = [
    {"type": "file", "path": "config.json", "size": 2, "oid": "0123"},
    {"type": "file", "path": "pytorch_model.bin", "size": 9, "oid": "4567"},
]


class _Hub(BaseHTTPRequestHandler):
    """Answers as the Hub does where something is gated, not there, or in another format."""

    def do_GET(self) -> None:
        """List or send the repository there is; refuse others with the Hub's error codes."""
        if self.path.startswith("/api/models/owner/pickled/tree/"):
            self._send(_TREE)
        elif self.path.startswith("/api/models/owner/pickled"):
            self._send(_PICKLED)
        elif "/resolve" in self.path and "/owner/pickled/" in self.path:
            self._send({})
        elif "/owner/cut/" in self.path:
            self.close_connection = True
        else:
            self._refuse()

    def _send(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"0123"')
        self.send_header("X-Repo-Commit", _COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self) -> None:
        name = next((name for name in _ANSWERS if f"/{name}/" in self.path + "/"), "gone")
        status, code = _ANSWERS[name]
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    """Address of a local server that speaks as the Hub does."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "kind", "advice"),
    [
        ("owner/gated", "UnavailableError", "hf auth login"),
        ("owner/gone", "InputError", "Check the spelling"),
        ("owner/old@v9", "InputError", "no such revision"),
        ("owner/cut", "UnavailableError", "Check the connection"),
    ],
)
def test_refusals_of_the_hub_say_what_to_do(
    tmp_path: Path, hub: str, name: str, kind: str, advice: str
) -> None:
    found, message = _resolve(name, tmp_path, HF_ENDPOINT=hub)
    assert found == kind
    assert advice in message


def test_a_repository_of_pickles_is_refused_by_what_it_holds(tmp_path: Path, hub: str) -> None:
    found, message = _resolve("owner/pickled", tmp_path, HF_ENDPOINT=hub)
    assert found == "CheckpointError"
    assert "It holds pytorch_model.bin" in message
    assert "save_pretrained" in message
