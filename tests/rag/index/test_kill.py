"""Killed at any moment, the last committed index answers and the next run finishes."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loragraft.embedding.static import StaticEmbedder
from loragraft.errors import InputError, UnavailableError
from loragraft.rag.corpus import read_corpus
from loragraft.rag.index.build import build_index
from loragraft.rag.index.store import open_index
from loragraft.rag.index.update import update_index
from loragraft.rag.index.verify import verify_index
from tests.support.small_index import make_document, splitter

KILLS = 20
_MANY, _FEW = 100, 12
_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "sqlite3.connect")
"""What Python reports of every step that changes or opens a file."""


def _write_collection(folder: Path, version: int, count: int) -> Path:
    """Write documents of which every second one depends on the version, and some come and go."""
    folder.mkdir(exist_ok=True)
    documents = [make_document(n, version=version * (n % 2)) for n in range(count - version % 3)]
    lines = [json.dumps({"doc_id": d.doc_id, "text": d.text}) + "\n" for d in documents]
    (folder / "records.jsonl").write_text("".join(lines))
    return folder


def _build(model: Path, source: Path, target: Path) -> None:
    static = StaticEmbedder(model, "small")
    build_index(target, read_corpus([source]), static, splitter(static))


def _update(model: Path, source: Path, target: Path) -> None:
    static = StaticEmbedder(model, "small")
    update_index(target, lambda known: read_corpus([source], known=known), static, splitter(static))


def _dying(step: int, target: Path, run: Callable[..., None], *arguments: object) -> None:
    """Run something that kills itself at a step that touches the index."""
    left = step

    def listen(event: str, details: tuple[object, ...]) -> None:
        nonlocal left
        if event in _EVENTS and str(target) in os.fsdecode(str(details[0])):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(listen)
    run(*arguments)


def _killed(after: float | None, run: Callable[..., None], *arguments: object) -> tuple[float, int]:
    """Run something in a process, killed after some seconds; return how long and how it ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["faiss", "model2vec", "loragraft.rag.index.build", "loragraft.rag.index.update", __name__]
    )
    process = context.Process(target=run, args=arguments)
    process.start()
    start = time.monotonic()
    process.join(after)
    if process.is_alive():
        process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return time.monotonic() - start, process.exitcode


def _state(target: Path) -> set[str]:
    with open_index(target) as index:
        return {chunk.sha256 for chunk in index.iterate()}


def _sound(target: Path) -> bool:
    return all(finding.severity.value == "pass" for finding in verify_index(target))


def _check_no_index_yet(target: Path) -> None:
    with pytest.raises(InputError, match=r"never finished|There is no index|is no index"):
        open_index(target)


@pytest.mark.slow
def test_survives_kills_at_random_moments(static_folder: Path, tmp_path: Path) -> None:
    generator = random.Random(5)
    source = _write_collection(tmp_path / "source", 0, _MANY)
    target = tmp_path / "index"
    whole, _ = _killed(None, _build, static_folder, source, target)
    right = _state(target)
    for number in range(KILLS // 2):
        other = tmp_path / f"built{number}"
        _killed(generator.uniform(0, whole), _build, static_folder, source, other)
        if not (other / "index.json").exists():
            _check_no_index_yet(other)
            _killed(None, _build, static_folder, source, other)
        assert _state(other) == right
    for version in range(1, 1 + KILLS // 2):
        before = _state(target)
        _write_collection(source, version, _MANY)
        _killed(generator.uniform(0, whole), _update, static_folder, source, target)
        between = _state(target)
        _killed(None, _update, static_folder, source, target)
        after = _state(target)
        assert between in (before, after)
        assert before != after
        assert _sound(target)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are Unix's")
def test_survives_a_kill_at_every_step(static_folder: Path, tmp_path: Path) -> None:
    source = _write_collection(tmp_path / "source", 0, _FEW)
    target = tmp_path / "index"
    _build(static_folder, source, target)
    right, steps, ended = _state(target), 0, -signal.SIGKILL
    while ended:
        other = tmp_path / f"built{steps}"
        arguments = (steps, other, _build, static_folder, source, other)
        ended = _killed(None, _dying, *arguments)[1]
        if not (other / "index.json").exists():
            _check_no_index_yet(other)
            _build(static_folder, source, other)
        _update(static_folder, source, other)  # where the kill came right behind the commit
        assert _sound(other)
        assert _state(other) == right
        steps += 1
    assert steps > 10
    version, ended = 0, -signal.SIGKILL
    while ended:
        version, before = version + 1, _state(target)
        _write_collection(source, version, _FEW)
        arguments = (version - 1, target, _update, static_folder, source, target)
        ended = _killed(None, _dying, *arguments)[1]
        between = _state(target)
        _update(static_folder, source, target)
        assert between in (before, _state(target))
        assert _sound(target)
    assert version > 10


def _limited(model: Path, source: Path, target: Path, size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        _update(model, source, target)
    except UnavailableError:
        return
    raise SystemExit(7)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are Unix's")
def test_a_full_disk_leaves_the_last_state(static_folder: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "index"
    _build(static_folder, _write_collection(source, 0, _MANY), target)
    before = _state(target)
    store, vectors = (
        (target / f"{name}").stat().st_size
        for name in ("chunks-000001.sqlite", "vectors-000001.faiss")
    )
    _write_collection(source, 1, _MANY)
    for size in (1000, vectors // 2, vectors - 1, store // 2, store - 4096):
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=_limited, args=(static_folder, source, target, size))
        process.start()
        process.join()
        assert process.exitcode == 0, f"limit of {size} bytes"
        assert _state(target) == before
    _update(static_folder, source, target)
    assert _state(target) != before
    assert _sound(target)
