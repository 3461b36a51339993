"""Runs of curation: their files, what they tell, and how they die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from loragraft.dataset.curate.report import page_path, report_path
from loragraft.dataset.curate.run import Outcome, curate
from loragraft.dataset.curate.state import State
from tests.support.rows import write_rows, write_rules

ROWS = 4_000


class Paths(NamedTuple):
    """The files of a run."""

    rules: Path
    raw: Path
    out: Path

    def run(self, **options: Any) -> Outcome:  # noqa: ANN401
        """Curate."""
        return curate(*self, **options)

    def written(self) -> tuple[bytes, bytes, bytes]:
        """Return records, report and page."""
        paths = (self.out, report_path(self.out), page_path(self.out))
        return tuple(path.read_bytes() for path in paths)  # type: ignore[return-value]

    def left_over(self) -> list[str]:
        """Return the folders of unfinished runs."""
        return [path.name for path in self.out.parent.glob(".*.curate")]


def make_paths(folder: Path, rows: int = ROWS) -> Paths:
    """Write rules and raw rows."""
    folder.mkdir(exist_ok=True)
    raw = write_rows(folder / "raw.jsonl", rows)
    return Paths(write_rules(folder / "rules.yaml"), raw, folder / "clean.jsonl")


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def killed_at(monkeypatch: pytest.MonkeyPatch, number: int, *, after: bool) -> Iterator[None]:
    """Die at a commit, before or after it."""
    commit, count = State.commit, 0

    def dying(self: State) -> None:
        nonlocal count
        count += 1
        if count == number and not after:
            raise Killed
        commit(self)
        if count == number:
            raise Killed

    with monkeypatch.context() as context:
        context.setattr(State, "commit", dying)
        yield


class Noting:
    """A progress that keeps what it is told."""

    def __init__(self, notes: list[str]) -> None:
        """Take the list that sentences go to."""
        self._notes = notes
        self.done = 0
        self.totals: list[int] = []

    def begin(self, stage: str, total: int, unit: str = "bytes") -> None:
        """Note a stage's size."""
        self.done = 0
        self.totals.append(total)

    def advance(self, count: int) -> None:
        """Count."""
        self.done += count

    def note(self, text: str) -> None:
        """Keep a sentence."""
        self._notes.append(text)

    def end(self) -> None:
        """Do nothing."""
