"""``loragraft experiment predictions``: an experiment's numbers as a CSV."""

from __future__ import annotations

from pathlib import Path

import click

from loragraft.cli.paths import PATH


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--only", "name", metavar="ID",
              help="Of this experiment. [default: the only one that gives numbers]")  # fmt: skip
@click.option("--csv", "path", type=PATH, required=True, metavar="FILE", help="Where they go.")
@click.option("--fill", type=click.FloatRange(0, 1), metavar="NUMBER",
              help="Stands for questions without a number. [default: they are left "
                   "out]")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="As it was given to run.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's; may be repeated.")  # fmt: skip
def predictions(
    config: Path,
    name: str | None,
    path: Path,
    fill: float | None,
    limit: int | None,
    changes: tuple[str, ...],
) -> None:
    """Write the numbers of an experiment as they are submitted: id, score.

    A question with several answers gets their mean. What has no number is said.
    """
    from loragraft.cli.output import print_warnings
    from loragraft.experiment.config import load_series
    from loragraft.experiment.predictions import choose_experiment, predictions_of, write_csv
    from loragraft.experiment.run import RunRequest, configured

    series = configured(load_series(config, changes), RunRequest(limit=limit))
    chosen = choose_experiment(series, name)
    found = predictions_of(series, chosen, fill)
    write_csv(path, found)
    if found.missing:
        what = "were left out" if fill is None else f"were given {fill:g}"
        names = ", ".join(found.missing[:5]) + (" ..." if len(found.missing) > 5 else "")
        print_warnings([f"{len(found.missing)} questions have no number and {what}: {names}"])
    click.echo(f"{len(found.scores)} predictions of {chosen}: {path}")
