"""A report in files: a page for people, Markdown to paste, JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path

from loragraft.artifact.files import write_atomically
from loragraft.errors import InputError
from loragraft.experiment.analysis.blocks import report_blocks, verdict_lines
from loragraft.experiment.analysis.model import Analysis, Browsable
from loragraft.experiment.markdown import escaped, markdown_of
from loragraft.experiment.table import Table

FOLDER = "report"
"""In a series' folder; no experiment has that name."""
PAGE, DATA, TEXT = "index.html", "report.json", "report.md"


def report_markdown(analysis: Analysis, table: Table | None = None) -> str:
    """Spell a report as Markdown: the verdict, what must be known, all tables."""
    parts = [f"# {escaped(analysis.title)}", ""]
    parts += [f"**{escaped(line)}**\n" for line in verdict_lines(analysis)]
    notes = list(analysis.warnings)
    if table is not None:
        notes += [f"{line.name}: {text}" for line in table.lines for text in line.notes if text]
    parts += [*(f"- {escaped(text)}" for text in notes), *([""] if notes else [])]
    return "\n".join(parts) + markdown_of(report_blocks(analysis, table)) + "\n"


def write_report(
    folder: Path, analysis: Analysis, browsable: Browsable, table: Table | None = None
) -> Path:
    """Write a report's three files, each whole or not at all.

    Args:
        folder: Where they go; it is made where it is not there.
        analysis: What the figures mean.
        browsable: The samples.
        table: All figures; None where runs are compared without a series.

    Returns:
        The page's path.

    Raises:
        InputError: If nothing can be written there.
        OutOfSpaceError: If the disk is full; each file stays as it was.
    """
    from loragraft.experiment.page.make import render

    data = json.dumps(analysis.to_json(), indent=2, allow_nan=False) + "\n"
    texts = {DATA: data, TEXT: report_markdown(analysis, table),
             PAGE: render(analysis, browsable)}  # fmt: skip
    for name, text in texts.items():
        write_text(folder / name, text)
    return folder / PAGE


def refuse_other_texts(path: Path, text: str) -> None:
    """Refuse to write a report over a file that is none of the same series.

    Raises:
        InputError: If something else is there, such as a README.md.
    """
    title = text.partition("\n")[0]
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            there = file.readline(len(title) + 2).rstrip("\r\n")
    except OSError:
        return  # nothing is there, or it is not to be written either, which is then said
    if there and there != title:
        raise InputError(
            f"{path} is there, and is no report of this series; expected a first line {title!r}. "
            "Name another file with --output, or move this one away."
        )


def write_text(path: Path, text: str) -> None:
    """Write a file, and the folders that it stands in.

    Raises:
        InputError: If it cannot be written.
        OutOfSpaceError: If the disk is full; what was there stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}. Name another folder with --output."
        ) from None
