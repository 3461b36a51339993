"""Ollama found, not found, hanging, elsewhere; its models' folder read and never touched."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loragraft.adapter.findings import Severity
from loragraft.doctor import ollama
from loragraft.doctor.limits import within
from loragraft.doctor.ollama import check_ollama, parse_version
from loragraft.doctor.rows import Row, Surroundings
from loragraft.doctor.store import holds_model, read_store, store_folders

MODELS: dict[str, Any] = {"models": [{"name": "mine:latest", "size": 1 << 30}]}


class Handler(BaseHTTPRequestHandler):
    """Answers the two questions as Ollama's API does."""

    def do_GET(self) -> None:
        """Answer."""
        answers = {"/api/version": {"version": "0.24.0"}, "/api/tags": MODELS}
        body = json.dumps(answers[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("loragraft.doctor.store.SERVICE", tmp_path / "service")
    monkeypatch.setattr("loragraft.doctor.store.SNAP", tmp_path / "snap")
    (tmp_path / "bin").mkdir()
    return tmp_path / "home"


def look(**environ: str) -> dict[str, Row]:
    return {row.finding.code: row for row in check_ollama(Surroundings(environ=environ))}


def make_store(folder: Path, used: str = "a" * 64, spare: str = "b" * 64) -> Path:
    manifest = folder / "manifests" / "registry.ollama.ai" / "library" / "mine"
    manifest.mkdir(parents=True)
    (folder / "blobs").mkdir()
    for digest in (used, spare):
        (folder / "blobs" / f"sha256-{digest}").write_bytes(bytes(5_000))
    layers = [{"digest": f"sha256:{used}"}]
    config = {"digest": f"sha256:{'c' * 64}"}
    (manifest / "latest").write_text(json.dumps({"config": config, "layers": layers}))
    return folder


def test_a_running_server_and_its_folder(server: str, home: Path) -> None:
    make_store(home / ".ollama" / "models")
    rows = look(OLLAMA_HOST=server)
    assert rows["ollama.server"].finding.severity is Severity.PASS
    assert "version 0.24.0" in rows["ollama.server"].finding.measured
    assert "1 models, 1.0 GiB" in rows["ollama.server"].finding.measured
    (folder,) = rows["ollama.models"].facts["folders"]
    assert folder["of_server"]
    assert folder["blobs"] == 2


def test_a_folder_that_is_not_the_servers(server: str, home: Path, tmp_path: Path) -> None:
    make_store(tmp_path / "other")
    (tmp_path / "other" / "manifests" / "registry.ollama.ai" / "library" / "mine").rename(
        tmp_path / "other" / "manifests" / "registry.ollama.ai" / "library" / "yours"
    )
    rows = look(OLLAMA_HOST=server, OLLAMA_MODELS=f'"{tmp_path / "other"}"')
    assert not rows["ollama.models"].facts["folders"][0]["of_server"]
    assert "container" in rows["ollama.models"].finding.next_step


def test_no_ollama_is_no_fault() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rows = look(OLLAMA_HOST=f"127.0.0.1:{port}")
    finding = rows["ollama.server"].finding
    assert finding.severity is Severity.WARN
    assert str(port) in finding.measured
    assert finding.next_step
    assert rows["ollama.program"].finding.severity is Severity.PASS


def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama, "ANSWER_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        start = time.monotonic()
        rows = look(OLLAMA_HOST=f"127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - start < 3
    assert "within 0.5 s" in rows["ollama.server"].finding.measured


def test_an_address_that_is_none() -> None:
    rows = look(OLLAMA_HOST="http://user:secret@host")
    assert rows["ollama.server"].finding.severity is Severity.WARN
    assert "secret" not in str(rows["ollama.server"].to_json())


def test_models_of_another_machine_are_not_looked_for(home: Path) -> None:
    make_store(home / ".ollama" / "models")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rows = look(OLLAMA_HOST=f"no.such.host.invalid:{port}")
    assert "machine of" in rows["ollama.models"].finding.measured


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("ollama version is 0.24.0\n", "0.24.0"),
        ("Warning: could not connect to a running Ollama instance\n"
         "Warning: client version is 0.32.15-rc1\n", "0.32.15-rc1"),
        ("ollama version is 0.24.0\nWarning: client version is 0.32.1\n", "0.32.1"),
        ("ollama: not found\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_what_the_program_says_of_itself(text: str, version: str | None) -> None:
    assert parse_version(text) == version


def test_a_program_on_the_path(tmp_path: Path, server: str) -> None:
    program = tmp_path / "bin" / "ollama"
    program.write_text("#!/bin/sh\necho 'ollama version is 0.20.1'\n")
    program.chmod(0o755)
    row = look(OLLAMA_HOST=server)["ollama.program"]
    assert "0.20.1" in row.finding.measured
    assert "0.24.0" in row.finding.next_step
    program.write_text("#!/bin/sh\nexit 1\n")
    assert "unknown" in look(OLLAMA_HOST=server)["ollama.program"].finding.measured


def test_unused_files(tmp_path: Path) -> None:
    store = read_store(make_store(tmp_path / "s"))
    assert store.unused(["a" * 64, "b" * 64, "d" * 64]) == {"b" * 64: 5_000}


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", '{"layers": 1}', "[" * 100_000])
def test_manifests_that_cannot_be_read_leave_everything_in_doubt(tmp_path: Path, text: str) -> None:
    folder = make_store(tmp_path / "s")
    (folder / "manifests" / "registry.ollama.ai" / "broken").write_text(text)
    store = read_store(folder)
    if text != '{"layers": 1}':
        assert store.used is None
        assert store.unused(["b" * 64]) == {}


def test_a_folder_without_models(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    store = read_store(tmp_path / "s")
    assert store.blobs == {}
    assert store.used is None


@pytest.mark.parametrize(
    ("name", "there"),
    [("mine:latest", True), ("mine", True), ("registry.ollama.ai/library/mine:latest", True),
     ("library/mine:latest", True), ("mine:q4", False), ("../../../x:latest", False),
     ("", False), (":", False), ("a//b:c", False)],
)  # fmt: skip
def test_names_of_models(tmp_path: Path, name: str, there: bool) -> None:
    assert holds_model(make_store(tmp_path / "s"), name) is there


def test_folders_where_models_may_lie(tmp_path: Path, home: Path) -> None:
    folders = store_folders({"OLLAMA_MODELS": " 'x' "})
    assert folders[:2] == [Path("x"), home / ".ollama" / "models"]
    assert os.environ["HOME"] == str(home)


def test_within_passes_results_and_errors() -> None:
    assert within(5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)
    with pytest.raises(TimeoutError, match="within 0"):
        within(0.01, lambda: time.sleep(0.2))
