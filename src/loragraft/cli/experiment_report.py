"""``loragraft experiment report``: what a series means, as tables, as a page and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.experiment.analysis.gather import Gathered
    from loragraft.experiment.table import Table

MARKDOWN = ".md"


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="As it was given to run.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's; may be repeated.")  # fmt: skip
@click.option("-o", "--output", type=PATH, metavar="FOLDER",
              help="Where the page, its JSON and its Markdown go, in place of the series' folder "
              "report; a name that ends in .md takes the Markdown alone.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def report(
    config: Path,
    limit: int | None,
    changes: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Say whether an experiment of CONFIG is better than the baseline, and show all figures.

    Prints the verdict and every metric with its 95 % interval, and writes index.html (a page with
    all samples, to be opened in a browser), report.json and report.md. Answers that are not
    measured yet are measured first. Comparisons with the baseline use the questions that both have.
    """
    from loragraft.cli.output import print_json
    from loragraft.cli.progress import watched
    from loragraft.experiment.analysis.gather import gather
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.config import load_series
    from loragraft.experiment.run import RunRequest, configured

    series = configured(load_series(config, changes), RunRequest(limit=limit))
    with (
        watched(lambda: "What was measured is kept") as progress,
        Shared(series, on_note=progress.note) as shared,
    ):
        found = gather(series, shared, progress, config)
    if as_json:
        print_json({**found.table.to_json(), "analysis": found.analysis.to_json()})
    else:
        _show(found)
    _write(found, output, limit, quiet=as_json)


def _write(found: Gathered, output: Path | None, limit: int | None, *, quiet: bool) -> None:
    """Write the report, and say where; a series without any run has none.

    A report on fewer questions does not take the place of the one on all.
    """
    from loragraft.chat.cleaning import clean
    from loragraft.experiment.analysis.writing import (
        FOLDER,
        refuse_other_texts,
        report_markdown,
        write_report,
        write_text,
    )

    config = found.series.config
    if output is not None and output.suffix == MARKDOWN:
        text = report_markdown(found.analysis, found.table)
        refuse_other_texts(output, text)
        write_text(output, text)
        click.echo(clean(f"Written: {output}"), err=True)
        return
    if not found.series.arms:
        click.echo("Nothing was run yet, so there is no page.", err=True)
        return
    few = () if limit is None else (f"limit-{limit}",)
    folder = output or Path(config.outputs, config.series, FOLDER, *few)
    page = write_report(folder, found.analysis, found.browsable(), found.table)
    click.echo(clean(f"The page: {page}"), err=quiet)


def _show(found: Gathered) -> None:
    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_table, print_warnings
    from loragraft.experiment.analysis.blocks import report_blocks, verdict_lines

    for line in verdict_lines(found.analysis):
        click.echo(clean(line))
    for block in report_blocks(found.analysis, found.table):
        print_table(block.title, block.columns, block.rows)
    print_warnings(found.analysis.warnings)
    print_warnings([f"{line.name}: {text}" for line in found.table.lines for text in line.notes])
    click.echo(clean(f"Questions: {questions_line(found.table)}"))


def questions_line(table: Table) -> str:
    """Return where the questions come from, as a sentence's end."""
    told = []
    for task, source in table.questions.items():
        limit = f", limited to {source['limit']}" if source.get("limit") else ""
        told.append(f"{source['questions']} of the kind {task}, {source['name']}{limit}")
    return "; ".join(told)
