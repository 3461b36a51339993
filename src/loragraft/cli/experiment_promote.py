"""``loragraft experiment promote``: is an experiment better than the baseline, surely?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.experiment.analysis.model import Verdict
    from loragraft.experiment.verdict.promote import Noted


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--experiment", metavar="ID",
              help="Only this one; else the one that surely gains most.")  # fmt: skip
@click.option("--write", is_flag=True,
              help="Note it in default.yaml and in the metadata of its files.")  # fmt: skip
@click.option("--default", type=PATH, metavar="FILE",
              help="Where it is noted, in place of the default.yaml beside CONFIG.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="As it was given to run.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def promote(
    config: Path,
    experiment: str | None,
    write: bool,
    default: Path | None,
    limit: int | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Decide by CONFIG's rule whether an experiment takes the baseline's place.

    Answers that are not measured yet are measured first. Exit codes: 0 promoted, 1 rejected,
    blocked or no candidate, 4 undecided: so many questions cannot tell.
    """
    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_warnings
    from loragraft.cli.progress import watched
    from loragraft.experiment.analysis.gather import analyse
    from loragraft.experiment.arms.opening import Shared
    from loragraft.experiment.config import load_series
    from loragraft.experiment.run import RunRequest, configured
    from loragraft.experiment.verdict.promote import check_metric, choose, default_file, named, note

    if default is not None and not write:
        raise click.UsageError("--default says where --write notes a promotion: give both.")
    series = configured(load_series(config, changes), RunRequest(limit=limit))
    wanted = named(series, experiment)
    file = default_file(config, default) if write else None
    with (
        watched(lambda: "What was measured is kept") as progress,
        Shared(series, on_note=progress.note) as shared,
    ):
        analysis = analyse(series, shared, progress, config)
    check_metric(series, analysis)
    choice = choose(analysis.verdicts, wanted)
    noted = None
    if file is not None and choice.promoted is not None:
        noted = note(series, analysis, choice.promoted, file)
    verdicts = [one for one in analysis.verdicts if wanted in (None, one.experiment)]
    promoted = None if choice.promoted is None else choice.promoted.experiment
    if as_json:
        _print_json(verdicts, promoted, noted, analysis.warnings)
    else:
        print_warnings(analysis.warnings)
        for verdict in verdicts:
            _show_conditions(verdict)
        for verdict in verdicts:
            click.echo(clean(f"{verdict.decision}: {verdict.sentence}"))
        if promoted is not None and not write:
            click.echo(clean(f"To be promoted: {promoted}. --write notes it in default.yaml."))
        if write:
            _show_noted(noted)
    sys.exit(choice.code)


def _print_json(
    verdicts: list[Verdict], promoted: str | None, noted: Noted | None, warnings: tuple[str, ...]
) -> None:
    from loragraft.cli.output import print_json

    print_json({"promoted": promoted, "verdicts": verdicts, "noted": noted, "warnings": warnings})


def _show_conditions(verdict: Verdict) -> None:
    from loragraft.cli.output import print_table

    rows = []
    for one in verdict.conditions:
        measured = f"{one.measured}\n{one.next}" if one.next else one.measured
        rows.append([one.name, one.met, measured, one.wanted])
    if rows:
        print_table(verdict.experiment, ["condition", "met", "measured", "wanted"], rows)


def _show_noted(noted: Noted | None) -> None:
    from loragraft.chat.cleaning import clean
    from loragraft.cli.output import print_warnings

    if noted is None:
        click.echo("Nothing was written: only what is promoted is noted.", err=True)
        return
    print_warnings(noted.notes)
    done = "Noted in" if noted.changed else "Stands already in"
    for path in (noted.file, *noted.folders):
        click.echo(clean(f"{done} {path}"), err=True)
