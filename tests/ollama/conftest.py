"""A server to register on: a stand-in of either generation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from loragraft.checkpoint.bundle import LocalModel, open_model
from loragraft.engine import llama
from loragraft.engine.ollama_server import OllamaServer
from loragraft.ollama import compose
from loragraft.ollama.record import Record
from loragraft.ollama.template import Translation, translate
from tests.support.ollama_server import OllamaStandIn
from tests.support.ollama_store import NEW, OLD, Generation
from tests.support.shared import build_once
from tests.support.talking import LLAMA2, build_bundle


@pytest.fixture
def model(talking_bundle: Callable[[str], Path], tmp_path: Path) -> LocalModel:
    """A pico bundle of our own to write into: ChatML, trained to answer and to end its turns."""
    return _own(talking_bundle("qwen2"), tmp_path)


@pytest.fixture
def with_bos(talking_bundle: Callable[[str], Path], tmp_path: Path) -> LocalModel:
    """A pico bundle whose engines add a BOS by themselves."""
    return _own(talking_bundle("llama"), tmp_path)


@pytest.fixture
def unwritten_bos(
    talking: Callable[[str], Path], shared_folder: Path, tmp_path: Path
) -> LocalModel:
    """The same, but its template writes no BOS: what it was trained on had one all the same."""

    def build(folder: Path) -> Path:
        checkpoint = folder / "checkpoint"
        shutil.copytree(talking("llama"), checkpoint)
        path = checkpoint / "tokenizer_config.json"
        settings = json.loads(path.read_text())
        settings["chat_template"] = LLAMA2.replace("bos_token", "''")
        path.write_text(json.dumps(settings))
        return build_bundle(checkpoint, folder / "zephyr")

    return _own(build_once(shared_folder / "unwritten-bos", build) / "zephyr", tmp_path)


@pytest.fixture
def smollm2(smollm2_bundle: Path, tmp_path: Path) -> LocalModel:
    """The bundle of SmolLM2 with the example's adapter, to write into."""
    return _own(smollm2_bundle, tmp_path)


def _own(bundle: Path, tmp_path: Path) -> LocalModel:
    """Copy a bundle; its GGUF is a link to the shared one."""
    folder = tmp_path / "bundles" / bundle.name
    shutil.copytree(bundle, folder, copy_function=_link_large)
    return open_model(folder)


def _link_large(source: str, target: str) -> None:
    if source.endswith(".gguf"):
        Path(target).hardlink_to(source)
    else:
        shutil.copy2(source, target)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A list of registered models of this test's own."""
    return Record(tmp_path / "state")


@pytest.fixture
def make_stand_in(tmp_path: Path) -> Iterator[Callable[[Generation], OllamaStandIn]]:
    """Start a stand-in of a generation; ended with the test."""
    started: list[OllamaStandIn] = []

    def make(generation: Generation) -> OllamaStandIn:
        started.append(OllamaStandIn(tmp_path / f"server-{len(started)}", generation))
        return started[-1]

    yield make
    for server in started:
        server.close()


@pytest.fixture(params=[OLD, NEW], ids=["0.24", "0.32"])
def stand_in(
    request: pytest.FixtureRequest, make_stand_in: Callable[[Generation], OllamaStandIn]
) -> OllamaStandIn:
    """A stand-in of either generation."""
    return make_stand_in(request.param)


@pytest.fixture
def newest(make_stand_in: Callable[[Generation], OllamaStandIn]) -> OllamaStandIn:
    """A stand-in of the newer generation."""
    return make_stand_in(NEW)


@pytest.fixture
def connect() -> Iterator[Callable[[OllamaStandIn], OllamaServer]]:
    """Make a client; closed with the test."""
    made: list[OllamaServer] = []

    def make(stand_in: OllamaStandIn) -> OllamaServer:
        made.append(OllamaServer(stand_in.url))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load sound files without trying them in a child process before."""
    monkeypatch.setattr(llama, "check_loads", lambda *_: None)


_TRANSLATED: dict[tuple[object, ...], Translation] = {}


@pytest.fixture(autouse=True)
def translated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Translate each template once for all registrations: it is learnt from many conversations."""

    def cached(
        template: str, *, variables: Mapping[str, str], strip_bos: str | None = None
    ) -> Translation:
        key = (template, *sorted(variables.items()), strip_bos)
        if key not in _TRANSLATED:
            _TRANSLATED[key] = translate(template, variables=variables, strip_bos=strip_bos)
        return _TRANSLATED[key]

    monkeypatch.setattr(compose, "translate", cached)
