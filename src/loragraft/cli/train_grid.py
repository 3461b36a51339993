"""``loragraft train grid``: several settings, and the best of them by validation loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.training.grid import GridOutcome
    from loragraft.training.grid_report import GridReport

OUTPUTS = Path("outputs/adapters")
FAILED = 1
"""Exit code where a run could not be finished."""


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--base", help="The base's folder, or another name of it. [default: the CONFIG's]")
@click.option("-o", "--output", "outputs", type=PATH, default=OUTPUTS, show_default=True,
              help="Folder that adapters go into.")  # fmt: skip
@click.option("--id", "--name", "experiment_id",
              help="Name of the grid and of its runs. [default: the CONFIG's]")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's, as grid.r=[8,16]; may be "
                   "repeated.")  # fmt: skip
@click.option("--replace", is_flag=True,
              help="Take the place of adapters of these names that differ.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True,
              help="Runs at once, each with a base of its own in memory.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1),
              help="Of the processor, for each run. [default: torch's]")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="List the runs, and train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def grid(
    ctx: click.Context,
    config: Path,
    base: str | None,
    outputs: Path,
    experiment_id: str | None,
    changes: tuple[str, ...],
    replace: bool,
    jobs: int,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train every combination of the CONFIG's grid, and name the best.

    Ranks, learning rates and epochs are combined; alpha goes with the rank. Each run is published
    under its own name, and the best by validation loss once more under the grid's. Given again, the
    command goes on where it was: what is finished is not trained again. Exits with 1 if a run
    failed.
    """
    from loragraft.cli.progress import make_progress
    from loragraft.training.grid import plan_grid, run_grid
    from loragraft.training.overrides import configure

    settings = configure(config, changes, experiment_id)
    progress = make_progress()
    try:
        if dry_run:
            plan = plan_grid(settings, outputs, base=base, progress=progress)
        else:
            outcome = run_grid(
                settings, outputs, base=base, replace=replace, jobs=jobs, threads=threads,
                progress=progress,
            )  # fmt: skip
    finally:
        progress.end()
    if dry_run:
        _show_plan(plan, as_json=as_json)
        return
    _show(outcome, as_json=as_json)
    if any(line.error for line in outcome.report.lines):
        ctx.exit(FAILED)


def _show_plan(plan: GridReport, *, as_json: bool) -> None:
    from loragraft.cli.output import print_json

    if as_json:
        print_json(plan.to_json())
        return
    _table(plan)
    click.echo("Nothing was trained.")


def _show(outcome: GridOutcome, *, as_json: bool) -> None:
    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_json
    from loragraft.training.grid import grid_json
    from loragraft.training.grid_report import best_sentence

    if as_json:
        print_json(grid_json(outcome))
        return
    _table(outcome.report)
    click.echo(best_sentence(outcome.report))
    for one in outcome.advice:
        click.echo(clean(f"Advice, {one.kind}: {one.words}"))
    click.echo(f"Adapter, report and picture: {outcome.folder}")


def _table(report: GridReport) -> None:
    """Print the runs; a column that nothing stands in is left out."""
    from loragraft.cli.output import print_table, print_warnings
    from loragraft.training.grid_report import COLUMNS

    rows = [line.cells() for line in report.lines]
    kept = [n for n in range(len(COLUMNS)) if any(row[n] for row in rows)]
    print_table(f"Grid {report.experiment_id}", [COLUMNS[n] for n in kept],
                [[row[n] for n in kept] for row in rows])  # fmt: skip
    print_warnings([f"{line.id}: {line.error}" for line in report.lines if line.error])
