"""The client of an Ollama server, against a local one that answers as it does, faults included."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loragraft.engine import ollama_transport
from loragraft.engine.ollama_server import OllamaServer
from loragraft.errors import (
    BundleError,
    InputError,
    LoragraftError,
    OutOfSpaceError,
    TemplateError,
    UnavailableError,
)
from tests.support.ollama_server import OllamaStandIn


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[OllamaStandIn]:
    with OllamaStandIn(tmp_path / "server") as server:
        yield server


@pytest.fixture
def server(stand_in: OllamaStandIn) -> Iterator[OllamaServer]:
    with OllamaServer(stand_in.url) as found:
        yield found


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, str]:
    """A file and its SHA256."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + bytes(3_000_000))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_version_and_models(server: OllamaServer) -> None:
    assert server.version() == "0.32.15"
    assert server.models() == server.running() == []
    assert server.find("nobody") is None
    with pytest.raises(InputError, match=r"has no model 'nobody'.*ollama list"):
        server.show("nobody")


def test_nobody_there_says_how_to_start_it_and_what_goes_without() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    with (
        OllamaServer(f"127.0.0.1:{port}") as server,
        pytest.raises(UnavailableError, match=r"ollama serve.*loragraft chat BUNDLE"),
    ):
        server.version()
    assert time.perf_counter() - start < 5


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    stand_in: OllamaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with OllamaServer(stand_in.url) as server:
        assert server.version() == "0.32.15"


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"html": 200}, "a web page.*Correct OLLAMA_HOST"),
        ({"html": 403}, "refuses.*403"),
        ({"html": 502}, "proxy.*502"),
        ({"html": 413}, "takes no file of this size"),
        ({"no_json": b"{"}, "no JSON"),
        ({"no_json": b"[1]"}, "not of Ollama's form"),
        ({"no_json": b'{"version": 3}'}, "not of Ollama's form"),
        ({"no_json": b'{"error": {"message": "no"}}'}, "not of Ollama's form"),
        ({"no_json": b"\xff\xfe\x00"}, "no JSON"),
        ({"no_json": b"[" * 100_000}, "no JSON"),
        ({"no_endpoint": {"/api/version"}}, "does not know the request.*update Ollama"),
        ({"redirect": "https://elsewhere/api"}, "sends on to 'https://elsewhere/api'"),
    ],
)
def test_what_is_no_ollama_is_said(
    server: OllamaServer, stand_in: OllamaStandIn, faults: dict[str, object], reason: str
) -> None:
    stand_in.faults.update(faults)
    with pytest.raises(LoragraftError, match=reason):
        server.version()


def test_silence_ends(
    server: OllamaServer, stand_in: OllamaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ollama_transport, "LOAD_SECONDS", 0.3)
    stand_in.faults["hang"] = "/api/chat"
    with pytest.raises(UnavailableError, match=r"fell silent.*ollama ps"):
        list(server.chat("m", [{"role": "user", "content": "a"}], {}))
    stand_in.ended.set()


def test_reading_is_tried_again_and_making_is_not(
    server: OllamaServer, stand_in: OllamaStandIn
) -> None:
    stand_in.faults["busy"] = 2
    assert server.version() == "0.32.15"
    assert len(stand_in.requests) == 3
    stand_in.faults["busy"] = 5
    with pytest.raises(UnavailableError, match="busy"):
        server.models()
    stand_in.faults["busy"] = 1
    with pytest.raises(UnavailableError, match="busy"):
        server.create("m", {}, "0" * 64)


def test_upload(server: OllamaServer, stand_in: OllamaStandIn, small: tuple[Path, str]) -> None:
    path, digest = small
    assert not server.has_blob(digest)
    server.upload(path, digest)
    assert server.has_blob(digest)
    assert stand_in.store.blob(f"sha256:{digest}").read_bytes() == path.read_bytes()


def test_a_cut_upload_is_begun_again(
    server: OllamaServer, stand_in: OllamaStandIn, small: tuple[Path, str]
) -> None:
    stand_in.faults["upload_cut"] = 2
    server.upload(*small)
    assert server.has_blob(small[1])


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("upload_cut", UnavailableError, "broke during uploading"),
        ("upload_full", OutOfSpaceError, "no space left on device.*OLLAMA_MODELS"),
        ("upload_digest", UnavailableError, "digest mismatch.*loragraft export verify"),
        ("upload_lost", UnavailableError, "took m.gguf and does not hold"),
    ],
)
def test_uploads_that_fail(
    server: OllamaServer,
    stand_in: OllamaStandIn,
    small: tuple[Path, str],
    fault: str,
    kind: type[Exception],
    reason: str,
) -> None:
    stand_in.faults[fault] = True
    with pytest.raises(kind, match=reason):
        server.upload(*small)


def test_a_file_that_shrinks_meanwhile(
    server: OllamaServer, small: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = small

    class Shrinking:
        def begin(self, stage: str, total: int) -> None:
            path.write_bytes(b"GGUF")

        def advance(self, count: int) -> None: ...
        def note(self, text: str) -> None: ...
        def end(self) -> None: ...

    with pytest.raises(BundleError, match="changed while it was sent"):
        server.upload(path, digest, Shrinking())
    path.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        server.upload(path, digest)


def test_create_says_what_the_server_says(
    server: OllamaServer, stand_in: OllamaStandIn, small: tuple[Path, str]
) -> None:
    digest = small[1]
    with pytest.raises(LoragraftError, match="no such file"):
        server.create("m", {}, digest)
    server.upload(*small)
    with pytest.raises(BundleError, match=r"unexpected EOF.*loragraft export verify"):
        server.create("m", {}, digest)
    with pytest.raises(InputError, match=r"invalid model name.*Names are"):
        server.create("a b", {}, digest)
    stand_in.faults["create_full"] = True
    with pytest.raises(OutOfSpaceError, match="no space left"):  # HTTP 200 with an error's line
        server.create("m", {}, digest)
    stand_in.faults = {"html": 200}
    with pytest.raises(UnavailableError, match="not of Ollama's form"):
        server.create("m", {}, digest)
    stand_in.faults = {"no_endpoint": {"/api/create"}}
    with pytest.raises(UnavailableError, match="does not know the request"):
        server.create("m", {}, digest)


@pytest.fixture
def tag(server: OllamaServer, smollm2_bundle: Path) -> str:
    """A registered model."""
    path = smollm2_bundle / "smollm2-lora.Q4_K_M.gguf"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    server.upload(path, digest)
    request = {"template": "{{ .Prompt }", "parameters": {"num_ctx": 512}}
    with pytest.raises(TemplateError, match="template error"):
        server.create("m", request, digest)
    server.create("m", request | {"template": "{{ .Prompt }}"}, digest)
    return "m"


def test_names(server: OllamaServer, stand_in: OllamaStandIn, tag: str) -> None:
    server.copy(tag, "other")
    assert stand_in.names() == ["m:latest", "other:latest"]
    server.delete("OTHER")
    assert [model["name"] for model in server.models()] == ["m:latest"]
    with pytest.raises(InputError, match="not found"):
        server.delete("other")
    assert server.show("M:latest")["template"] == "{{ .Prompt }}"


def test_a_create_without_success(server: OllamaServer, stand_in: OllamaStandIn, tag: str) -> None:
    digest = sorted(stand_in.store.blobs.iterdir())[0].name.removeprefix("sha256-")
    stand_in.faults["create_silent"] = True
    with pytest.raises(UnavailableError, match="instead of 'success'"):
        server.create(tag, {}, digest)
