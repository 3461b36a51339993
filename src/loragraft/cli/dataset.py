"""``loragraft dataset``: collect data, curate it, split it without leaks."""

from __future__ import annotations

from collections.abc import Mapping

import click

from loragraft.cli.lazy import lazy_group

COMMANDS: Mapping[str, tuple[str, str]] = {
    "collect": ("loragraft.cli.dataset_collect:collect", "Collect posts and replies to them."),
    "curate": ("loragraft.cli.dataset_curate:curate", "Keep what a file of rules lets through."),
    "leaks": ("loragraft.cli.dataset_leaks:leaks", "Find what a test set gives away."),
    "review": ("loragraft.cli.dataset_curate:review", "Accept or reject a sample by hand."),
    "show": ("loragraft.cli.dataset_show:show", "Print records, or a split's strata."),
    "split": ("loragraft.cli.dataset_split:split", "Divide records into train, val and test."),
}
"""Command to where it is and what ``loragraft dataset --help`` says of it."""


@click.group(cls=lazy_group(COMMANDS))
def dataset() -> None:
    """Collect data, curate it, split it without leaks."""
