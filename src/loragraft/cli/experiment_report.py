"""``loragraft experiment report``: every metric of every experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.experiment.table import Table


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="As it was given to run.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's; may be repeated.")  # fmt: skip
@click.option("-o", "--output", type=PATH, metavar="FILE", help="Write the tables as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def report(
    config: Path,
    limit: int | None,
    changes: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Print every metric of the experiments of CONFIG, with the count beside each figure.

    Answers that are not measured yet are measured first. Comparisons with the baseline use the
    questions that both have.
    """
    from loragraft.cli.output import print_json
    from loragraft.cli.progress import watched
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.config import load_series
    from loragraft.experiment.report import make_table
    from loragraft.experiment.run import RunRequest, configured

    series = configured(load_series(config, changes), RunRequest(limit=limit))
    with (
        watched(lambda: "What was measured is kept") as progress,
        Shared(series, on_note=progress.note) as shared,
    ):
        table = make_table(series, shared, progress)
    if output is not None:
        _write(output, table)
    if as_json:
        print_json(table.to_json())
        return
    _show(table)


def _write(path: Path, table: Table) -> None:
    from loragraft.artifact.files import write_atomically
    from loragraft.errors import InputError
    from loragraft.experiment.markdown import to_markdown

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_markdown(table).encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
    click.echo(f"Written: {path}", err=True)


def _show(table: Table) -> None:
    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_table, print_warnings
    from loragraft.experiment.markdown import blocks_of

    for block in blocks_of(table):
        print_table(block.title, block.columns, block.rows)
    for line in table.lines:
        print_warnings([f"{line.name}: {text}" for text in (line.message, *line.notes) if text])
        if line.stale:
            print_warnings([f"{line.name} is stale: {', '.join(line.stale)} changed since."])
    for name, reason in table.refused.items():
        print_warnings([f"{name} is not compared with {table.baseline}: {reason}."])
    click.echo(clean(f"Questions: {questions_line(table)}"))


def questions_line(table: Table) -> str:
    """Return where the questions come from, as a sentence's end."""
    told = []
    for task, source in table.questions.items():
        limit = f", limited to {source['limit']}" if source.get("limit") else ""
        told.append(f"{source['questions']} of the kind {task}, {source['name']}{limit}")
    return "; ".join(told)
