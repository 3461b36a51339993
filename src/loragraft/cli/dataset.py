"""``loragraft dataset``: collect data, curate it, split it without leaks."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

import click

COMMANDS: Mapping[str, tuple[str, str]] = {
    "collect": ("loragraft.cli.dataset_collect:collect", "Collect posts and replies to them."),
    "curate": ("loragraft.cli.dataset_curate:curate", "Keep what a file of rules lets through."),
    "leaks": ("loragraft.cli.dataset_leaks:leaks", "Find what a test set gives away."),
    "review": ("loragraft.cli.dataset_curate:review", "Accept or reject a sample by hand."),
    "show": ("loragraft.cli.dataset_show:show", "Print records, or a split's strata."),
    "split": ("loragraft.cli.dataset_split:split", "Divide records into train, val and test."),
}
"""Command to where it is and what ``loragraft dataset --help`` says of it."""


class LazyCommands(click.Group):
    """A group whose commands are imported when they are run or asked for help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyCommands)
def dataset() -> None:
    """Collect data, curate it, split it without leaks."""
