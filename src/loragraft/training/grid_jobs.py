"""Several runs of a grid at once, each in a process of its own.

A process that dies (killed for its memory, or by a person) takes one run with it and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from loragraft.artifact.progress import Progress, Silent
from loragraft.errors import InputError, LoragraftError, UnavailableError
from loragraft.training.config import TrainConfig
from loragraft.training.grid_cells import Cell

ENDING_SECONDS = 10
"""That a process which was told to end is given before it is killed; nothing is lost by that."""


@dataclass
class _Child:
    """A run in a process of its own; ``kind`` is how it says that it ended."""

    cell: Cell
    process: SpawnProcess
    messages: Connection
    error: str | None = None
    kind: str | None = None


class _Telling(Silent):
    """A progress that sends its notes to the process that started this one."""

    def __init__(self, messages: Any) -> None:  # noqa: ANN401 - a connection
        """Take the way back."""
        self._messages = messages

    def note(self, text: str) -> None:
        """Send it; where nobody listens any more, end."""
        self._messages.send(("note", text))


def run_children(
    todo: Sequence[Cell],
    outputs: Path,
    base: str | None,
    replaced: Collection[str],
    jobs: int,
    threads: int | None,
    progress: Progress,
    failed: dict[str, str],
) -> None:
    """Train runs in several processes.

    Args:
        todo: The runs.
        outputs: Parent folder of their results.
        base: The base's folder or another name of it.
        replaced: Names of runs whose results give way.
        jobs: How many at once.
        threads: Of each; None divides the processor's among them.
        progress: Told of their notes and ends.
        failed: Takes the errors of those that failed, by name.

    Raises:
        LoragraftError: If something is wrong that is so for all runs.
    """
    share = threads or max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    waiting, running = list(todo), list[_Child]()
    progress.begin("Training the grid", len(todo), "runs")
    with _ended(running):
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop(0)
                arguments = (cell.config, outputs, base, cell.id in replaced, share)
                running.append(_start(context, cell, arguments))
            for child in _heard(running, progress):
                running.remove(child)
                progress.advance(1)
                _finish(child, failed, progress)
    progress.end()


def _start(context: SpawnContext, cell: Cell, arguments: tuple[Any, ...]) -> _Child:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(*arguments, theirs), name=cell.id)
    process.start()
    theirs.close()  # or its end would not be noticed
    return _Child(cell, process, ours)


def _heard(running: Sequence[_Child], progress: Progress) -> Iterator[_Child]:
    """Wait until someone says something; yield those that have ended."""
    ready = wait([child.messages for child in running])
    for child in list(running):
        if child.messages not in ready:
            continue
        try:
            kind, value = child.messages.recv()
        except (EOFError, OSError):
            child.process.join()
            yield child
            continue
        if kind == "note":
            progress.note(f"{child.cell.id}: {value}")
        else:
            child.kind, child.error = kind, value


def _finish(child: _Child, failed: dict[str, str], progress: Progress) -> None:
    child.messages.close()
    if child.kind == "done":
        progress.note(f"{child.cell.id} is done.")
        return
    code = child.process.exitcode
    error = child.error or (
        f"its process ended with code {code}"
        + (": it was killed, for its memory perhaps" if code == -signal.SIGKILL else "")
    )
    if child.kind in ("input", "unavailable"):
        raise (InputError if child.kind == "input" else UnavailableError)(error)
    failed[child.cell.id] = error
    progress.note(f"{child.cell.id} failed: {error}")


@contextmanager
def _ended(running: Sequence[_Child]) -> Iterator[None]:
    """Let no process outlive the block."""
    try:
        yield
    finally:
        for child in running:
            child.process.terminate()
        for child in running:
            child.process.join(ENDING_SECONDS)
            if child.process.is_alive():
                child.process.kill()
                child.process.join()


def _train(
    config: TrainConfig,
    outputs: Path,
    base: str | None,
    replace: bool,
    threads: int,
    messages: Any,  # noqa: ANN401 - a connection
) -> None:
    """Train one run, and say how it ended; the body of a process."""
    from loragraft.training.grid import OWN_FAULT
    from loragraft.training.run import train

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: whoever started us ends us
    told = _Telling(messages)
    try:
        train(config, outputs, base=base, replace=replace, threads=threads, progress=told)
        messages.send(("done", None))
    except OWN_FAULT as error:
        messages.send(("failed", str(error)))
    except LoragraftError as error:
        messages.send(("input" if isinstance(error, InputError) else "unavailable", str(error)))
    except BrokenPipeError:
        return  # whoever started us is gone; the same command goes on from the checkpoint
