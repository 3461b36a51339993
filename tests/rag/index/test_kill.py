"""Killed at any moment, the last committed index answers and the next run finishes."""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError, UnavailableError
from loragraft.rag.index.build import build_index
from loragraft.rag.index.store import open_index
from loragraft.rag.index.update import update_index
from loragraft.rag.index.verify import verify_index
from tests.support.small_index import make_document, make_documents, splitter

KILLS = 20
_DOCUMENTS = 150


def _build(folder: Path, target: Path) -> None:
    static = StaticEmbedder(folder, "small")
    build_index(target, make_documents(_DOCUMENTS), static, splitter(static))


def _update(folder: Path, target: Path, version: int) -> None:
    static = StaticEmbedder(folder, "small")
    documents = [make_document(n, version=version * (n % 2)) for n in range(_DOCUMENTS)]
    update_index(target, documents, static, splitter(static))


def _finish(folder: Path, target: Path) -> None:
    if not (target / "index.json").exists():
        with pytest.raises(InputError, match=r"never finished|There is no index|is no index"):
            open_index(target)
        _killed(None, _build, folder, target)


def _killed(after: float | None, target: Callable[..., None], *arguments: object) -> float:
    """Run something in a process, killed after some seconds; return how long it ran."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["faiss", "model2vec", "loragraft.rag.index.build", "loragraft.rag.index.update", __name__]
    )
    process = context.Process(target=target, args=arguments)
    process.start()
    start = time.monotonic()
    process.join(after)
    if process.is_alive():
        process.kill()
    process.join()
    assert process.exitcode == (0 if after is None else process.exitcode)
    return time.monotonic() - start


def _state(target: Path) -> set[str]:
    with open_index(target) as index:
        return {chunk.sha256 for chunk in index.iterate()}


@pytest.mark.slow
def test_survives_kills_at_random_moments(static_folder: Path, tmp_path: Path) -> None:
    generator = random.Random(5)
    whole = _killed(None, _build, static_folder, tmp_path / "whole")
    right = _state(tmp_path / "whole")
    for number in range(KILLS // 2):
        target = tmp_path / f"built{number}"
        _killed(generator.uniform(0, whole), _build, static_folder, target)
        if (target / "index.json").exists():
            assert _state(target) == right
        _finish(static_folder, target)
        assert _state(target) == right
    target = tmp_path / "whole"
    long = _killed(None, _update, static_folder, target, 1)
    for version in range(2, 2 + KILLS // 2):
        before = _state(target)
        _killed(generator.uniform(0, long), _update, static_folder, target, version)
        between = _state(target)
        _killed(None, _update, static_folder, target, version)
        after = _state(target)
        assert between in (before, after)
        assert before != after
        assert all(f.severity.value == "pass" for f in verify_index(target))


def _limited(folder: Path, target: Path, size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        _update(folder, target, 1)
    except UnavailableError:
        return
    raise SystemExit(7)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are Unix's")
def test_a_full_disk_leaves_the_last_state(static_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "index"
    _build(static_folder, target)
    before = _state(target)
    store, vectors = (
        (target / f"{name}").stat().st_size
        for name in ("chunks-000001.sqlite", "vectors-000001.faiss")
    )
    for size in (1000, vectors // 2, vectors - 1, store // 2, store - 4096):
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=_limited, args=(static_folder, target, size))
        process.start()
        process.join()
        assert process.exitcode == 0, f"limit of {size} bytes"
        assert _state(target) == before
    _update(static_folder, target, 1)
    assert _state(target) != before
    assert all(f.severity.value == "pass" for f in verify_index(target))
