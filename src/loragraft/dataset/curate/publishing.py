"""Records and report get their names together, or the next run finishes that."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from loragraft.artifact.files import sync_folder, write_atomically
from loragraft.artifact.hashing import sha256_file
from loragraft.dataset.curate.report import (
    Report,
    page_path,
    read_report,
    render_page,
    report_path,
    spell_report,
)
from loragraft.errors import InputError

KEPT = "kept.jsonl"
_REPORT, _PAGE = "report.json", "report.html"


def prepare(folder: Path, make_report: Callable[[str], Report]) -> None:
    """Write the report beside the records that are ready.

    Args:
        folder: The state's folder.
        make_report: Returns the report, given the hash of the records.
    """
    report = make_report(sha256_file(folder / KEPT))
    write_atomically(folder / _PAGE, render_page(report).encode("utf-8", "backslashreplace"))
    write_atomically(folder / _REPORT, spell_report(report))


def publish(folder: Path, out: Path) -> Report:
    """Give everything its name, the report last; a killed call is finished by the next.

    Returns:
        The report.
    """
    ready = (folder / KEPT).exists()
    for name, target in ((KEPT, out), (_PAGE, page_path(out)), (_REPORT, report_path(out))):
        if (folder / name).exists():
            (folder / name).replace(target)
    sync_folder(out.parent)
    report = read_report(out)
    shutil.rmtree(folder, ignore_errors=True)
    if report is None or not (ready or is_written(out, report)):
        raise InputError(
            f"The records that were ready for {out} were taken away before they had that name. "
            "Run the same command again: it starts anew."
        )
    return report


def is_written(out: Path, report: Report) -> bool:
    """Whether a file holds the very records that a report is about."""
    try:
        return sha256_file(out) == report.output.sha256
    except OSError:
        return False
