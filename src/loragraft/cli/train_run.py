"""``loragraft train run``: from a configuration to a checked, published adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loragraft.training.run import Outcome

OUTPUTS = Path("outputs/adapters")


@click.command()
@click.argument("config", type=PATH, metavar="CONFIG")
@click.option("--base", help="The base's folder, or another name of it. [default: the CONFIG's]")
@click.option("-o", "--output", "outputs", type=PATH, default=OUTPUTS, show_default=True,
              help="Folder that adapters go into.")  # fmt: skip
@click.option("--id", "--name", "experiment_id", help="Name of the run. [default: the CONFIG's]")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Another value than the CONFIG's, as optimiser.epochs=3; may be "
                   "repeated.")  # fmt: skip
@click.option("--replace", is_flag=True, help="Take the place of an adapter of that name.")
@click.option("--restart", is_flag=True, help="Do not go on from an unfinished run's checkpoint.")
@click.option("--threads", type=click.IntRange(min=1), help="Of the processor. [default: torch's]")
@click.option("--dry-run", is_flag=True, help="Tell what would be learnt, and train nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def run(
    config: Path,
    base: str | None,
    outputs: Path,
    experiment_id: str | None,
    changes: tuple[str, ...],
    replace: bool,
    restart: bool,
    threads: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train an adapter, check it and publish it.

    An interrupted run goes on from its last checkpoint when the command is given again.
    """
    from loragraft.cli.progress import make_progress
    from loragraft.training.overrides import configure
    from loragraft.training.run import train

    settings = configure(config, changes, experiment_id)
    progress = make_progress()
    try:
        if dry_run:
            from loragraft.cli.train_preview import show_preview

            show_preview(settings, base, progress, as_json=as_json)
            return
        outcome = train(
            settings, outputs, base=base, replace=replace, restart=restart, threads=threads,
            progress=progress,
        )  # fmt: skip
    finally:
        progress.end()
    _report(outcome, as_json=as_json)


def _report(outcome: Outcome, *, as_json: bool) -> None:
    from loragraft.cli.output import print_json, print_table

    if as_json:
        print_json(outcome_json(outcome))
        return
    print_table("Adapter", ["", ""], _rows(outcome))
    for one in outcome.advice:
        click.echo(f"Advice, {one.kind}: {one.words}")
    click.echo(f"Adapter: {outcome.folder}")


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """Return a run's outcome as JSON values."""
    from dataclasses import asdict

    return {
        "folder": str(outcome.folder),
        "resumed_from": outcome.resumed_from,
        "advice": [asdict(one) for one in outcome.advice],
        **outcome.metadata,
    }


def _rows(outcome: Outcome) -> list[list[str]]:
    metadata = outcome.metadata
    found, runtime = metadata["evaluation_summary"], metadata["training_runtime"]
    change = found["relative_change_of_weights"]
    rows = {
        "base": metadata["base_model"],
        "status": _status(metadata),
        "validation loss": _losses(found),
        "training loss": _number(found["training_loss"]),
        **{name: _number(value) for name, value in found["metrics"].items()},
        "‖ΔW‖/‖W‖": f"{change['min']:.4f} to {change['max']:.4f}" if change else "",
        "verification": metadata["verification"]["verdict"],
        "alarms": "; ".join(found["alarms"]),
        "time": f"{runtime['seconds']:.0f} s on {runtime['threads']} threads",
    }
    return [[name, value] for name, value in rows.items() if value]


def _status(metadata: Mapping[str, Any]) -> str:
    found, steps = metadata["evaluation_summary"], metadata["hyper_parameters"]["steps"]
    return (
        f"{found['status']} after {steps} steps; the weights of step {found['chosen_step']}, by "
        f"{found['chosen_by']}"
    )


def _losses(found: Mapping[str, Any]) -> str:
    after, before = found["validation_loss"], found["validation_loss_before"]
    if after is None:
        return ""
    was = "" if before is None else f"{before:.4f} before, "
    return f"{was}{after:.4f} after" if was else f"{after:.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
