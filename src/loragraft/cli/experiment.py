"""``loragraft experiment``: the same questions to every model, measured and compared."""

from __future__ import annotations

from collections.abc import Mapping

import click

from loragraft.cli.lazy import lazy_group

COMMANDS: Mapping[str, tuple[str, str]] = {
    "compare": (
        "loragraft.cli.experiment_compare:compare",
        "Compare runs with each other, by their folders.",
    ),
    "human": ("loragraft.cli.experiment_human:human", "Let people compare answers, blind."),
    "predictions": (
        "loragraft.cli.experiment_predictions:predictions",
        "Write an experiment's numbers as a CSV of id and score.",
    ),
    "promote": (
        "loragraft.cli.experiment_promote:promote",
        "Decide whether an experiment takes the baseline's place.",
    ),
    "report": (
        "loragraft.cli.experiment_report:report",
        "Say what is better and how sure that is.",
    ),
    "run": ("loragraft.cli.experiment_run:run", "Run a series; go on where it was interrupted."),
    "status": ("loragraft.cli.experiment_status:status", "Say how far a series is, what is stale."),
}
"""Command to where it is and what ``loragraft experiment --help`` says of it."""


@click.group(cls=lazy_group(COMMANDS))
def experiment() -> None:
    """Run experiments on the same questions, and measure their answers."""
