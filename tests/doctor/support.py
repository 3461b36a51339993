"""Runs that are killed in the middle, for real."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WORK = """
import sys
from pathlib import Path
from loragraft.artifact.journal import Journal
from loragraft.artifact.publish import Staging
outputs, name, journal = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "journal"
with Staging(outputs, name, replace=True) as staging:
    if journal:
        Journal(staging.journal_path, "key").append({"done": "part"})
    (staging.folder / "weights").write_bytes(bytes(100_000))
    print("working", flush=True)
    sys.stdin.read()
"""


@contextmanager
def work(outputs: Path, name: str = "x", *, journal: bool = True) -> Iterator[int]:
    """Let a process work on an output while the block runs, then kill it."""
    how = "journal" if journal else "plain"
    command = [sys.executable, "-c", _WORK, str(outputs), name, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"working\n"
        try:
            yield child.pid
        finally:
            child.kill()
            child.wait()


def leave_unfinished(outputs: Path, name: str = "x", *, journal: bool = True) -> None:
    """Leave what a killed run leaves."""
    with work(outputs, name, journal=journal):
        pass


def make_old(path: Path, days: float = 2) -> None:
    """Set the times of a file or a whole tree back."""
    then = time.time() - days * 86_400
    inside = sorted(path.rglob("*"), reverse=True) if path.is_dir() else []
    for place in [*inside, path]:
        os.utime(place, (then, then), follow_symlinks=False)


def everything(folder: Path) -> set[str]:
    """Names of all there is below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
