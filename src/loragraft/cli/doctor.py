"""``loragraft doctor``: what is here, what would be faster, and what of ours can go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from loragraft.doctor.clean import Plan, Removal
    from loragraft.doctor.leftovers import Leftover
    from loragraft.doctor.run import Diagnosis

_NAMED = 6
"""Paths of one leftover that are named: what a run can leave under one name."""
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("folders", nargs=-1, type=FOLDER, metavar="[PATHS]...")
@click.option(
    "--clean", is_flag=True, help="List what of loragraft's can go; remove it if told to."
)
@click.option("--yes", is_flag=True, help="With --clean: remove without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def doctor(folders: tuple[Path, ...], clean: bool, yes: bool, as_json: bool) -> None:
    """Say what is installed, what is reachable, how much room there is, and what would be faster.

    PATHS are folders to work in, the current one by default: their disks are measured, and --clean
    looks there for what killed runs left. Exits with 1 if something essential does not work.
    """
    from loragraft.cli.output import print_json
    from loragraft.doctor.rows import Surroundings
    from loragraft.doctor.run import examine

    if yes and not clean:
        raise click.UsageError("--yes belongs to --clean.")
    surroundings = Surroundings(folders or (Path(),))
    diagnosis = examine(surroundings)
    report: dict[str, Any] = diagnosis.to_json()
    if not as_json:
        _print_diagnosis(diagnosis)
    if clean:
        report["clean"] = _clean(surroundings.folders, diagnosis, yes, as_json)
    if as_json:
        print_json(report)
    if diagnosis.verdict == "fail":
        sys.exit(1)


def _print_diagnosis(diagnosis: Diagnosis) -> None:
    from loragraft.cli.output import print_findings

    print_findings([row.finding for row in diagnosis.rows])


def _clean(
    folders: tuple[Path, ...], diagnosis: Diagnosis, yes: bool, as_json: bool
) -> dict[str, Any]:
    """List what can go, ask, and remove it; return what happened."""
    from loragraft.doctor.clean import find_leftovers, remove, to_json

    plan = find_leftovers(folders, diagnosis.kernel_folders)
    if not as_json:
        _print_plan(plan)
    removals = [remove(leftover) for leftover in _agreed(plan, yes, as_json)]
    if removals and not as_json:
        _print_removals(removals)
    return to_json(plan, removals)


def _agreed(plan: Plan, yes: bool, as_json: bool) -> list[Leftover]:
    """Ask for each kind, and return what may go."""
    from loragraft.artifact.space import format_bytes

    if yes or not plan.removable:
        return list(plan.removable)
    if as_json or not sys.stdin.isatty():
        click.echo("Nothing was removed. To remove what can go: loragraft doctor --clean --yes",
                   err=True)  # fmt: skip
        return []
    agreed: list[Leftover] = []
    for kind in dict.fromkeys(leftover.kind for leftover in plan.removable):
        found = [leftover for leftover in plan.removable if leftover.kind == kind]
        size = format_bytes(sum(leftover.size.bytes for leftover in found))
        if click.confirm(f"Remove {kind}: {len(found)} in the list, {size}?"):
            agreed += found
    return agreed


def _print_plan(plan: Plan) -> None:
    from loragraft.artifact.space import format_bytes
    from loragraft.cli.output import print_table, print_warnings
    from loragraft.doctor.rows import shown

    print_warnings([shown(text) for text in plan.notes])
    if not plan.leftovers:
        click.echo("Nothing of loragraft's lies about.")
        return
    rows = [
        [
            "kept" if leftover.kept else "can go",
            ("" if leftover.size.whole else "at least ") + format_bytes(leftover.size.bytes),
            leftover.kind,
            _describe_paths(leftover.paths),
            shown(leftover.kept or leftover.busy or leftover.about),
        ]
        for leftover in plan.leftovers
    ]
    print_table("What of loragraft's can go", ["verdict", "size", "kind", "what", "why"], rows)


def _describe_paths(paths: tuple[Path, ...]) -> str:
    from loragraft.doctor.rows import shown

    if len(paths) > _NAMED and len({path.parent for path in paths}) == 1:
        return f"{len(paths)} files in {shown(paths[0].parent)}"
    return "\n".join(shown(path) for path in paths)


def _print_removals(removals: list[Removal]) -> None:
    from loragraft.artifact.space import format_bytes
    from loragraft.doctor.rows import shown

    for removal in removals:
        if removal.problem:
            place = shown(removal.leftover.path)
            click.echo(f"Kept {place}: {shown(removal.problem)}", err=True)
    gone = [removal for removal in removals if not removal.problem]
    freed = format_bytes(sum(removal.freed for removal in removals))
    click.echo(f"Removed {len(gone)} of {len(removals)}; {freed} freed.")
