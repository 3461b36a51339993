"""A series killed in the middle ends, when it is run again, as one that was never killed."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from loragraft.experiment.run import RunRequest, run_series
from loragraft.experiment.run_info import read_run
from loragraft.experiment.status import series_status
from tests.support.chat_dialects import Said, messages_of
from tests.support.chat_server import Json, chat_server
from tests.support.series import loaded, qa_series

COUNT, CONCURRENCY = 30, 4
TIMES = ("seconds", "first_seconds", "tries")
CODE = """
import sys
from pathlib import Path
from loragraft.experiment.config import load_series
from loragraft.experiment.run import RunRequest, run_series
run_series(load_series(Path(sys.argv[1])), RunRequest(only=["steady"], score=False))
"""


class Killer:
    """Answers, and kills a process when it has answered so often."""

    def __init__(self) -> None:
        """Wait for the process."""
        self.process: subprocess.Popen[bytes] | None = None
        self.after, self.samples = 0, Path()
        self._count, self._lock = 0, threading.Lock()

    def __call__(self, body: Json) -> Said:
        """Answer with the number that the question names."""
        with self._lock:
            self._count += 1
            # Answers are written down by another thread, which may not have had its turn yet.
            if self.process is not None and self._count >= self.after and _size(self.samples):
                self.process.kill()
        number = re.findall(r"number (\d+)\?", messages_of(body)[-1]["content"])[-1]
        return Said(f"{number} stones")

    def start(self, path: Path, after: int) -> int:
        """Run a series in a process, which is killed after so many answers."""
        with self._lock:
            self._count, self.after = 0, after
            self.samples = path.parent / "outputs" / "houses" / "steady" / "samples.jsonl"
            self.process = subprocess.Popen(
                [sys.executable, "-c", CODE, str(path)], stderr=subprocess.DEVNULL
            )
        return self.process.wait()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def answers_of(folder: Path) -> list[dict[str, Any]]:
    """Return the samples of an experiment but for their times, by question."""
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [json.loads(line) for line in lines]
    told = [{k: v for k, v in one.items() if k not in TIMES} for one in samples]
    return sorted(told, key=lambda one: str(one["question_id"]))


@pytest.mark.slow
def test_killed_at_random_moments_the_records_are_those_of_an_unbroken_run(tmp_path: Path) -> None:
    chance = random.Random(7)
    killer = Killer()
    with chat_server(killer) as server:
        broken, whole = tmp_path / "broken", tmp_path / "whole"
        for folder in (broken, whole):
            folder.mkdir()
        path = qa_series(broken, server.url, COUNT)
        config = loaded(path)
        ends = [killer.start(path, chance.randint(2, 9)) for _ in range(2)]
        assert ends == [-signal.SIGKILL] * 2
        done, before = _check_half(config), len(server.requests)
        assert killer.start(path, 10_000) == 0
        # No more than what was missing, and what was still on its way at the kill.
        assert COUNT - done <= len(server.requests) - before <= COUNT - done + CONCURRENCY
        unbroken = loaded(qa_series(whole, server.url, COUNT))
        run_series(unbroken, RunRequest(only=["steady"], score=False))
    mine, theirs = (answers_of(c.outputs / "houses" / "steady") for c in (config, unbroken))
    assert mine == theirs
    assert len(mine) == COUNT


def _check_half(config: Any) -> int:  # noqa: ANN401
    """A killed run is told as interrupted, with what it has: return how many answers."""
    status = series_status(config).arms[0]
    assert status.state == "interrupted"
    assert 0 < status.done < COUNT
    assert "the same command goes on" in status.message
    info = read_run(config.outputs / "houses" / "steady")
    assert info is not None
    assert info.state == "running"
    return status.done
