"""``loragraft experiment status``: how far a series is, and what of it is stale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.experiment.status import ArmStatus, SeriesStatus


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="As it was given to run.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's; may be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def status(config: Path, limit: int | None, changes: tuple[str, ...], as_json: bool) -> None:
    """Say how far the experiments of CONFIG are, also while they run.

    An experiment whose corpus, index, adapter or model has changed since is marked as stale. No
    model is loaded.
    """
    from dataclasses import asdict

    from loragraft.cli.output import print_json
    from loragraft.experiment.config import load_series
    from loragraft.experiment.run import RunRequest, configured
    from loragraft.experiment.status import series_status

    series = configured(load_series(config, changes), RunRequest(limit=limit))
    found = series_status(series)
    if as_json:
        print_json(asdict(found))
        return
    _show(found)


def _show(found: SeriesStatus) -> None:
    from loragraft.cli.output import print_table, print_warnings

    rows = [
        [arm.name, arm.state, f"{arm.done} of {arm.total}", _missing(arm), _left(arm),
         ", ".join(arm.stale)]
        for arm in found.arms
    ]  # fmt: skip
    columns = ["experiment", "state", "answers", "without", "left", "stale"]
    print_table(f"Series {found.series}", columns, rows)
    for arm in found.arms:
        print_warnings([f"{arm.name}: {text}" for text in (arm.message, *arm.notes) if text])
        if arm.unseen:
            print_warnings([f"{arm.name}: {', '.join(arm.unseen)} cannot be looked at now."])
    state = "The series is complete." if found.complete else "The series is not complete."
    click.echo(state)


def _missing(arm: ArmStatus) -> str:
    return ", ".join(f"{n} {status}" for status, n in arm.counts.items() if status != "ok" and n)


def _left(arm: ArmStatus) -> str:
    from loragraft.artifact.progress import format_seconds

    if arm.rate is None or arm.seconds_left is None:
        return ""
    rate = f"{arm.rate:.1f}/s" if arm.rate >= 1 else f"{1 / arm.rate:.1f} s each"
    return f"{format_seconds(arm.seconds_left)} at {rate}"
