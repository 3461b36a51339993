"""A raw file becomes a file of records: streaming, resumable, published whole.

```
FOLDER/CLEAN.jsonl              the records
FOLDER/CLEAN.report.json, .html what was dropped, and why
FOLDER/CLEAN.review.jsonl       what people decided; read, never written here
FOLDER/.CLEAN.jsonl.curate/     the state of a run that is not finished
FOLDER/.CLEAN.jsonl.lock        held meanwhile
```
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from loragraft.artifact.hashing import sha256_file
from loragraft.artifact.lock import hold_lock
from loragraft.artifact.progress import Progress, Silent
from loragraft.dataset.curate.decisions import read_decisions
from loragraft.dataset.curate.embedders import Embedders
from loragraft.dataset.curate.filling import DONE, Job, broken_line, fill
from loragraft.dataset.curate.publishing import is_written, publish
from loragraft.dataset.curate.report import (
    SUFFIX,
    Named,
    Report,
    decisions_path,
    page_path,
    read_report,
    report_path,
)
from loragraft.dataset.curate.rules import load_rules
from loragraft.dataset.curate.state import State
from loragraft.errors import InputError, UnavailableError

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class Outcome(NamedTuple):
    """What a run came to.

    Attributes:
        report: The report.
        unchanged: Whether everything was there already.
    """

    report: Report
    unchanged: bool


def curate(
    rules: Path,
    raw: Path,
    out: Path,
    *,
    strict: bool = False,
    replace: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Judge the rows of a file, and write those that are kept as task records.

    A run that was interrupted goes on where the last commit left it, and ends with the same bytes
    as an unbroken one; with another rules file, another input or other decisions it starts anew.

    Args:
        rules: The rules file.
        raw: JSON lines.
        out: Where the records go; the report lies beside it.
        strict: Whether a line that holds no row ends the run.
        replace: Whether ``out`` gives way also where it was not written by this.
        progress: Told how far it is.

    Raises:
        InputError: If anything cannot be read, or ``out`` holds something of somebody else.
        LockedError: If another process writes the same ``out``.
    """
    progress = progress or Silent()
    _check_places(rules, raw, out)
    folder = out.with_name(f".{out.name}.curate")
    with ExitStack() as stack:
        stack.enter_context(_explain(folder))
        _make_folder(out.parent)
        embedders = stack.enter_context(Embedders(progress.note))
        stack.enter_context(hold_lock(out.with_name(f".{out.name}.lock")))
        job = _prepare(rules, raw, out, strict, embedders, progress)
        report = read_report(out)
        same = report is not None and report.key == job.key and page_path(out).is_file()
        if report is not None and same and is_written(out, report):
            if strict and report.broken_lines:
                first = report.broken_lines[0]
                raise broken_line(raw, first.line, first.reason)
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was never finished
            return Outcome(report, unchanged=True)
        with State(folder, job.key) as state:
            if not replace and not state.load(DONE):
                _check_out(out, raw, report)
            if state.other:
                progress.note("The rules, the input or the decisions changed: starting anew.")
            if state.broken:
                progress.note("What an earlier run left lacks bytes: starting anew.")
            if not state.load(DONE):
                fill(job, state, progress)
        return Outcome(publish(folder, out), unchanged=False)


@contextmanager
def _explain(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors, and what the system forbids, into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise UnavailableError(
            f"{folder} cannot be read or written: {error}. Check the disk, delete that folder and "
            "run the same command again."
        ) from error
    except OSError as error:
        if error.errno not in _FORBIDDEN:
            raise
        raise InputError(
            f"{error.filename or folder.parent} cannot be read or written: {error.strerror}."
        ) from None


def _check_places(rules: Path, raw: Path, out: Path) -> None:
    if not raw.is_file():
        what = "is no file" if raw.exists() else "does not exist"
        raise InputError(f"{raw} {what}; expected a file of JSON lines.")
    if out.is_dir():
        raise InputError(f"{out} is a folder: give the name of a file, such as clean.jsonl.")
    if not out.name.removesuffix(SUFFIX) or not out.name.endswith(SUFFIX):
        raise InputError(f"{out} is no name for records: give one such as clean{SUFFIX}.")
    written = (out, report_path(out), page_path(out))
    for path in written:
        if path.is_dir():
            raise InputError(f"{path} is a folder, and a report goes there: choose another -o.")
        for source in (raw, rules, decisions_path(out)):
            if path.exists() and source.exists() and path.samefile(source):
                raise InputError(f"{path} would be overwritten, but it is read: choose another -o.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder} is no folder: choose another -o.") from None


def _prepare(
    rules: Path, raw: Path, out: Path, strict: bool, embedders: Embedders, progress: Progress
) -> Job:
    loaded = load_rules(rules)
    decisions = read_decisions(decisions_path(out))
    stat = raw.stat()
    progress.begin(f"Reading {raw.name}", stat.st_size)
    raw_named = Named(name=raw.name, sha256=sha256_file(raw, progress.advance))
    rules_named = Named(name=rules.name, sha256=sha256_file(rules))
    size = (stat.st_size, stat.st_mtime_ns)
    return Job(loaded, rules_named, raw, raw_named, size, out, decisions, embedders, strict)


def _check_out(out: Path, raw: Path, report: Report | None) -> None:
    """Refuse to overwrite what no run of this wrote, or one of another input, or was changed."""
    if not out.exists():
        return
    if report is None:
        raise InputError(
            f"{out} is there, and no {report_path(out).name} says that it was written by dataset "
            "curate. Choose another -o, or give --replace."
        )
    if report.raw.name != raw.name:
        raise InputError(
            f"{out} was made of {report.raw.name}, and this is {raw.name}. Choose another -o, or "
            "give --replace."
        )
    if not is_written(out, report):
        raise InputError(
            f"{out} was changed since it was written by dataset curate. Choose another -o, or "
            "give --replace. Decisions about single records belong into "
            f"{decisions_path(out).name}: see dataset review."
        )
