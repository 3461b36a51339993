"""A group of commands that are imported when they are run, so that help imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

import click


def lazy_group(commands: Mapping[str, tuple[str, str]]) -> type[click.Group]:
    """Return the class of a group.

    Args:
        commands: Name to where the command is (``module:attribute``) and what the group's help
            says of it.
    """

    class LazyCommands(click.Group):
        """A group whose commands are imported when they are run or asked for help."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            """Return the commands' names."""
            return sorted(commands)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            """Import a command."""
            if cmd_name not in commands:
                return None
            module, _, attribute = commands[cmd_name][0].partition(":")
            return cast(click.Command, getattr(importlib.import_module(module), attribute))

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            """List the commands without importing them."""
            with formatter.section("Commands"):
                formatter.write_dl([(name, commands[name][1]) for name in sorted(commands)])

    return LazyCommands
