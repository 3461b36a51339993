"""Killed at any moment and resumed, a collection ends as one that nobody disturbed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apify_server import FINISHED, KEY, ApifyServer, Request, apify_server, tweets
from tests.support.collecting import Forge, collect

FOUND = [*tweets(11), {"noResults": True}, *tweets(6, first=4), *tweets(9, first=20)]
RECORDS = 20


def prepare(server: ApifyServer) -> None:
    server.items, server.options = FOUND, {"step": 7, "lag": 1}


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    """What starts collections to be killed."""
    forge = Forge()
    yield forge
    forge.close()


def killed(forge: Forge, server: ApifyServer, out: Path, at: int, **options: Any) -> bool:  # noqa: ANN401
    """Collect in a process that is killed at a request; False if it was through before."""
    seen, pid = [0], [0]
    ready = threading.Event()

    def kill(request: Request) -> None:
        ready.wait(60)
        seen[0] += 1
        if seen[0] == at:
            os.kill(pid[0], signal.SIGKILL)

    server.before_send.append(kill)
    pid[0] = forge.start(server.url, out, **options)
    ready.set()
    code = forge.wait()
    server.before_send.remove(kill)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def no_key_in(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """What an undisturbed collection brings."""
    with apify_server() as server:
        prepare(server)
        report = collect(server.url, tmp_path / "whole.jsonl")
    assert (report.records, report.again, report.empty) == (RECORDS, 6, 1)
    return (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("target", "step"), [(None, 1), (13, 3)])
def test_killed_at_each_request_and_resumed_it_ends_the_same(
    tmp_path: Path, forge: Forge, whole: bytes, target: int | None, step: int
) -> None:
    expected = whole if target is None else b"".join(whole.splitlines(keepends=True)[:target])
    for at in range(1, 60, step):
        folder = tmp_path / str(at)
        folder.mkdir()
        out = folder / "raw.jsonl"
        with apify_server() as server:
            prepare(server)
            dead = killed(forge, server, out, at, target=target)
            assert out.exists() is not dead
            collect(server.url, out, resume=True, target=target)
            assert out.read_bytes() == expected
            assert server.count("POST", "/runs") == 1  # nothing was paid for twice
            assert len(server.runs) == 1
            assert server.runs[0].status in FINISHED  # nothing goes on costing
        no_key_in(folder)
        if not dead:
            break
    assert at > 8


@pytest.mark.slow
@pytest.mark.parametrize("add", [True, False])
def test_adding_another_run_can_be_killed_at_each_request_too(
    tmp_path: Path, forge: Forge, whole: bytes, add: bool
) -> None:
    for at in range(1, 60, 2 if add else 3):
        out = tmp_path / str(at) / "raw.jsonl"
        out.parent.mkdir()
        with apify_server() as server:
            server.items = FOUND[:14]
            collect(server.url, out)
            prepare(server)
            server.options = {"step": 14}
            other = {"searchTerms": ["reef"]}
            dead = killed(forge, server, out, at, add=True, run_input=other)
            begun = len(server.runs) > 1
            options = {"add": add, "resume": not add} if begun else {"add": True}
            if dead:
                collect(server.url, out, run_input=other, **options)
            assert out.read_bytes() == whole
            assert len(server.runs) == 2
        no_key_in(out.parent)
        if not dead:
            break
    assert at > 6


def test_killed_again_and_again_it_still_ends_the_same(
    tmp_path: Path, forge: Forge, whole: bytes
) -> None:
    out = tmp_path / "raw.jsonl"
    with apify_server() as server:
        prepare(server)
        for _ in range(60):
            if not killed(forge, server, out, 7, resume=True):
                break
        assert out.read_bytes() == whole
        assert len(server.runs) == 1


@pytest.mark.parametrize(
    ("step", "count"), [("flush", 1), ("flush", 3), ("commit", 1), ("commit", 3), ("publish", 1)]
)
def test_a_power_cut_inside_a_page_leaves_no_half_page(
    tmp_path: Path, forge: Forge, whole: bytes, step: str, count: int
) -> None:
    out = tmp_path / "raw.jsonl"
    with apify_server() as server:
        prepare(server)
        forge.start(server.url, out, (step, count))
        assert forge.wait() == -signal.SIGKILL
        assert not out.exists()
        collect(server.url, out, resume=True)
    assert out.read_bytes() == whole


def test_the_run_goes_on_while_nobody_collects(tmp_path: Path, forge: Forge, whole: bytes) -> None:
    out = tmp_path / "raw.jsonl"
    with apify_server() as server:
        prepare(server)
        assert killed(forge, server, out, 6)
        server.runs[0].visible = len(FOUND)
        collect(server.url, out, resume=True)
    assert out.read_bytes() == whole
