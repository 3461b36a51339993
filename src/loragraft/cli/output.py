"""Reports on stdout: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from loragraft.adapter.findings import Finding

PIPE_WIDTH = 160
"""Columns of a table that goes into a file or a pipe, where there is no terminal to ask."""

COLUMN_PADDING = 3
"""Blanks and rule that rich puts around a column."""
EDGE = 1
"""Blank at the right of a table, behind its last column."""
PHRASE = 27
"""Width up to which words are a verdict or a state, and more is prose, which may fold."""
LEAST_COLUMN = 16
"""Width that a column of folded text is left with: one or two words."""

VERDICT_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "allowed": "magenta",
                  "skipped": "dim"}  # fmt: skip


def print_json(value: Mapping[str, Any]) -> None:
    """Print a report as JSON."""
    from loragraft.artifact.metadata import plain
    from loragraft.chat.cleaning import clean_json

    click.echo(clean_json(json.dumps(plain(value), indent=2, ensure_ascii=False)))


def console() -> Console:
    """Return rich's console for stdout."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=False
    )


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; cells are text, not markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from loragraft.chat.cleaning import clean

    table = Table(
        title=Text(clean(title), "table.title"), title_justify="left", box=box.SIMPLE_HEAD
    )
    shown = console()
    whole = _whole_columns(columns, rows, shown.width)
    for number, name in enumerate(columns):
        table.add_column(name, overflow="fold", no_wrap=number in whole)
    for row in rows:
        table.add_row(*(Text(clean(cell), style=VERDICT_STYLES.get(cell, "")) for cell in row))
    shown.print(table)


def _whole_columns(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> frozenset[int]:
    """Return the columns that have room to stand unbroken, to be copied and searched.

    The narrowest come first, so that a long text folds before a name or a path does.
    """
    from rich.cells import cell_len

    needed = [
        max(cell_len(line) for cell in (name, *(row[number] for row in rows))
            for line in (cell.splitlines() or [""])) + COLUMN_PADDING
        for number, name in enumerate(columns)
    ]  # fmt: skip
    room = width - EDGE - len(columns) * LEAST_COLUMN
    whole = set()
    for number in sorted(range(len(columns)), key=needed.__getitem__):
        if needed[number] > PHRASE and any(" " in row[number] for row in rows):
            continue
        room -= needed[number] - LEAST_COLUMN
        if room >= 0:
            whole.add(number)
    return frozenset(whole)


def print_gates(gates: Sequence[Mapping[str, Any]]) -> None:
    """Print gates with what they measured; the next step follows where there is one."""
    rows = [
        [g["name"], g["verdict"],
         g["measured"] + (f"\n{g['next_step']}" if g["next_step"] else ""), g["expected"]]
        for g in gates
    ]  # fmt: skip
    print_table("Gates", ["gate", "verdict", "measured", "expected"], rows)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print an adapter's findings, each with its next step."""
    rows = [
        [f.code, f.severity.value, f.measured + (f"\n{f.next_step}" if f.next_step else ""),
         f.expected]
        for f in findings
    ]  # fmt: skip
    print_table("Findings", ["check", "verdict", "found", "expected"], rows)


def print_warnings(warnings: Sequence[str]) -> None:
    """Print what a person should read, on stderr."""
    from loragraft.chat.cleaning import clean

    for text in warnings:
        click.echo(f"Note: {clean(text)}", err=True)
