"""``loragraft experiment compare``: runs beside each other, by their folders alone."""

from __future__ import annotations

from pathlib import Path

import click

from loragraft.cli.paths import PATH


@click.command()
@click.argument("runs", type=PATH, metavar="RUN RUN...", nargs=-1, required=True)
@click.option("--metric", metavar="NAME",
              help="That decides on wins and losses; factuality where it is there.")  # fmt: skip
@click.option("-o", "--output", type=PATH, metavar="FOLDER",
              help="Write the page with all samples, its JSON and its Markdown there.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def compare(runs: tuple[Path, ...], metric: str | None, output: Path | None, as_json: bool) -> None:
    """Compare runs with the first RUN, over the questions that both have.

    A RUN is an experiment's folder, such as outputs/experiments/demo/hybrid_science_smollm2, also
    of another series, or one that was set aside. Runs that were not asked the same are refused.
    """
    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_json, print_table, print_warnings
    from loragraft.experiment.analysis.blocks import report_blocks, verdict_lines
    from loragraft.experiment.analysis.runs import analyse_runs, read_runs
    from loragraft.experiment.analysis.writing import write_report

    if len(runs) < 2:
        raise click.UsageError("Name two runs or more; the first is what others are compared with.")
    found = read_runs(runs, metric)
    analysis = analyse_runs(found)
    if as_json:
        print_json(analysis.to_json())
    else:
        for line in verdict_lines(analysis):
            click.echo(clean(line))
        for block in report_blocks(analysis):
            print_table(block.title, block.columns, block.rows)
    print_warnings(analysis.warnings)
    if output is not None:
        page = write_report(output, analysis, found.browsable())
        click.echo(clean(f"The page: {page}"), err=as_json)
