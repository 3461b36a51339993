"""``loragraft init``: a workspace with configurations, ready to edit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.workspace import Workspace

SHOWN = 10
"""Files that are named; of more the number is told."""


@click.command()
@click.argument("folder", type=PATH, default=Path())
@click.option("--examples/--no-examples", default=True, show_default=True,
              help="Copy the example collection and its adapter (3 MB), which configs/demo.yaml "
              "needs.")  # fmt: skip
@click.option("--force", is_flag=True,
              help="Let files that differ give way; each is kept as NAME.old.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def init(folder: Path, examples: bool, force: bool, dry_run: bool, as_json: bool) -> None:
    """Make FOLDER (this one by default) a workspace: configurations, folders for data and results.

    Whatever is there stays as it is, and is named; run it again after an update to get what is new.
    """
    from loragraft.workspace import make_workspace

    made = make_workspace(folder, examples=examples, force=force, dry_run=dry_run)
    if as_json:
        from loragraft.cli.output import print_json

        print_json({**vars(made), "folder": str(folder), "dry_run": dry_run})
        return
    _print(made, dry_run)


def _print(made: Workspace, dry_run: bool) -> None:
    would = "Would write" if dry_run else "Wrote"
    there = f", {len(made.same)} were there already" if made.same else ""
    click.echo(f"{would} {len(made.written)} files into {made.folder}{there}.")
    for name, old in made.replaced[:SHOWN]:
        click.echo(f"{'Would replace' if dry_run else 'Replaced'} {name}; the old one is {old}.")
    if len(made.replaced) > SHOWN:
        click.echo(f"And {len(made.replaced) - SHOWN} more.")
    if made.kept:
        names = ", ".join(made.kept[:SHOWN])
        more = f" and {len(made.kept) - SHOWN} more" if len(made.kept) > SHOWN else ""
        one = len(made.kept) == 1
        click.echo(f"Note: {names}{more} {'differs' if one else 'differ'} from ours and "
                   f"{'stays as it is' if one else 'stay as they are'} (--force replaces "
                   f"{'it, the old one' if one else 'them, the old ones'} kept).",
                   err=True)  # fmt: skip
    if not dry_run:
        click.echo("Next: read README.md there, edit configs/, and try loragraft demo.")
