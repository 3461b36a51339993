"""Many adapters against many bases: which fits which, and why not.

Every adapter is checked once alone (values included) and once, by headers, against every base.
What is finished is noted in a journal, so that a survey that was interrupted goes on, and one
that is repeated checks only what changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loragraft import __version__
from loragraft.adapter.findings import Severity
from loragraft.adapter.locate import CONFIG_NAME
from loragraft.adapter.verify import VerifyReport, VerifyRequest, verify_adapter
from loragraft.artifact.hash_cache import file_identity
from loragraft.artifact.journal import Journal
from loragraft.artifact.progress import Progress, Silent
from loragraft.errors import LoragraftError

JOURNAL_NAME = "survey.jsonl"
MAX_DEPTH = 4
"""Folders below the given one in which adapters are looked for: outputs/adapters/RUN/checkpoint."""
ALONE = ""
"""Name of the column that holds an adapter's own faults, whatever the base."""


@dataclass(frozen=True)
class Subject:
    """An adapter or a base of a survey.

    Attributes:
        name: What the user called it.
        folder: Where it lies; None if it could not be had.
        problem: Why not.
    """

    name: str
    folder: Path | None
    problem: str = ""


@dataclass(frozen=True)
class Cell:
    """What was found of one adapter on one base.

    Attributes:
        adapter: The adapter's name.
        base: The base's name, or :data:`ALONE`.
        verdict: pass, warn or fail.
        reason: The worst finding in one line; empty where all passed.
        findings: Every finding that did not pass, as JSON values.
    """

    adapter: str
    base: str
    verdict: str
    reason: str
    findings: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Survey:
    """The whole matrix.

    Attributes:
        adapters: Names, in the order given.
        bases: Names, in the order given.
        cells: By adapter and base.
        reused: How many cells were taken from an earlier run.
    """

    adapters: tuple[str, ...]
    bases: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    reused: int = 0

    def verdict(self, adapter: str, base: str) -> str:
        """Return the worse of an adapter's own verdict and that on a base (or :data:`ALONE`)."""
        found = (self.cells[adapter, ALONE].verdict, self.cells[adapter, base].verdict)
        return max(found, key=_ORDER.index)

    def homeless(self) -> list[str]:
        """Return the adapters that fit none of the bases."""
        return [
            name
            for name in self.adapters
            if all(self.verdict(name, base) == Severity.FAIL.value for base in self.bases)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the survey as JSON values."""
        return {
            "adapters": list(self.adapters),
            "bases": list(self.bases),
            "matrix": [
                {"adapter": a, "base": b, "verdict": self.verdict(a, b),
                 "reason": self.cells[a, b].reason or self.cells[a, ALONE].reason}
                for a in self.adapters for b in self.bases
            ],
            "cells": [asdict(cell) for cell in self.cells.values()],
            "fits_none": self.homeless(),
            "reused": self.reused,
        }  # fmt: skip


_ORDER = [Severity.PASS.value, Severity.WARN.value, Severity.FAIL.value]


def find_adapters(folder: Path) -> list[Path]:
    """Return the adapters at a path: itself, or all that lie below it.

    A trainer's output folder counts once, by its last checkpoint.
    """
    if not folder.is_dir() or _is_adapter(folder):
        return [folder]
    return list(_below(folder, MAX_DEPTH)) or [folder]


def _below(folder: Path, depth: int) -> Iterator[Path]:
    if depth == 0:
        return
    children = [item.path for item in os.scandir(folder) if item.is_dir(follow_symlinks=False)]
    for child in map(Path, sorted(children)):
        if _is_adapter(child):
            yield child
        else:
            yield from _below(child, depth - 1)


def _is_adapter(folder: Path) -> bool:
    checkpoints = folder.glob("checkpoint-*")
    return any((place / CONFIG_NAME).exists() for place in (folder, *checkpoints))


def run_survey(
    adapters: Sequence[Subject],
    bases: Sequence[Subject],
    folder: Path,
    *,
    values: bool = True,
    progress: Progress | None = None,
) -> Survey:
    """Check every adapter against every base; what is broken does not stop the rest.

    Args:
        adapters: The rows.
        bases: The columns.
        folder: Where the journal lies, made if missing.
        values: Whether every adapter's values are read once.
        progress: Told of each adapter.
    """
    watcher = progress or Silent()
    folder.mkdir(parents=True, exist_ok=True)
    cells: dict[tuple[str, str], Cell] = {}
    reused = 0
    with Journal(folder / JOURNAL_NAME, f"survey {__version__} values={values}") as journal:
        known = {entry["key"]: entry["cell"] for entry in journal.entries}
        for number, adapter in enumerate(adapters, 1):
            watcher.begin(f"{number} of {len(adapters)}: {adapter.name}", 0)
            for base in (None, *bases):
                name = ALONE if base is None else base.name
                key = _key(adapter, base)
                if key in known:
                    cells[adapter.name, name] = _read(known[key], adapter.name, name)
                    reused += 1
                    continue
                cell = _check(adapter, base, values)
                cells[adapter.name, name] = cell
                if key is not None:
                    journal.append({"key": key, "cell": _plain(cell)})
    watcher.end()
    names = tuple(dict.fromkeys(item.name for item in adapters))
    return Survey(names, tuple(dict.fromkeys(item.name for item in bases)), cells, reused)


def _plain(cell: Cell) -> dict[str, Any]:
    return {"verdict": cell.verdict, "reason": cell.reason, "findings": list(cell.findings)}


def _read(value: Mapping[str, Any], adapter: str, base: str) -> Cell:
    return Cell(adapter, base, value["verdict"], value["reason"], tuple(value["findings"]))


def _check(adapter: Subject, base: Subject | None, values: bool) -> Cell:
    name = ALONE if base is None else base.name
    for subject in (adapter, base):
        if subject is not None and subject.folder is None:
            return Cell(adapter.name, name, Severity.FAIL.value, subject.problem)
    assert adapter.folder is not None
    request = VerifyRequest(
        adapter.folder,
        base.folder if base is not None else None,
        base_name=base.name if base is not None else None,
        source_name=adapter.name,
        values=values and base is None,
    )
    try:
        report = verify_adapter(request)
    except LoragraftError as error:
        return Cell(adapter.name, name, Severity.FAIL.value, str(error))
    return _cell(adapter.name, name, report)


def _cell(adapter: str, base: str, report: VerifyReport) -> Cell:
    wrong = tuple(f.as_dict() for f in report.findings if f.severity is not Severity.PASS)
    reason = report.first_line if wrong else ""
    return Cell(adapter, base, report.verdict.value, reason, wrong)


def _key(adapter: Subject, base: Subject | None) -> str | None:
    """Return what a cell depends on as one hash; None where that cannot be told."""
    facts: list[Any] = [adapter.name, base.name if base is not None else None]
    try:
        for subject in (adapter, base):
            if subject is None:
                continue
            if subject.folder is None:
                return None
            facts.append(_identities(subject.folder))
    except OSError:
        return None
    return hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogateescape")).hexdigest()


def _identities(folder: Path) -> list[Any]:
    """Return path, size, time and inode of every file that a check may read."""
    if folder.is_file():
        return [str(folder.resolve()), file_identity(folder)]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [[str(path.resolve()), file_identity(path)] for path in files]
