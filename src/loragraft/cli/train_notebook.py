"""``loragraft train notebook``: the same run on a machine of Colab or Kaggle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from loragraft.cli.paths import PATH

if TYPE_CHECKING:
    from loragraft.training.notebook.write import Platform, Where, WrittenNotebook

ADAPTERS = Path("outputs/adapters")
CONFIGS = Path("configs/training")
FOLDER = Path("notebooks/finetuning")


@click.command()
@click.argument("experiment")
@click.option("--platform", "platforms", type=click.Choice(["colab", "kaggle"]), multiple=True,
              help="The platform that it explains; may be repeated. [default: both]")  # fmt: skip
@click.option("-o", "--output", "folder", type=PATH, default=FOLDER, show_default=True,
              help="Folder that it goes into.")  # fmt: skip
@click.option("--base", metavar="REPOSITORY",
              help="The base on the Hub, where the configuration names a folder.")  # fmt: skip
@click.option("--install", default="pypi", show_default=True, metavar="FROM",
              help="Where it takes loragraft from: pypi, git+https://..., or the path of a wheel "
              "there.")  # fmt: skip
@click.option("--data", type=click.Choice(["auto", "inside", "beside"]), default="auto",
              show_default=True, help="Where the data goes; small data goes inside.")  # fmt: skip
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="Change the configuration, as lora.r=8; may be repeated.")  # fmt: skip
@click.option("--id", "experiment_id", metavar="NAME", help="Another name for the run.")
@click.option("--adapters", type=PATH, default=ADAPTERS, show_default=True,
              help="Folder of trained adapters, to find an experiment in.")  # fmt: skip
@click.option("--replace", is_flag=True, help="Swap another notebook of that name.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def notebook(
    experiment: str,
    platforms: tuple[Platform, ...],
    folder: Path,
    base: str | None,
    install: str,
    data: Where,
    changes: tuple[str, ...],
    experiment_id: str | None,
    adapters: Path,
    replace: bool,
    as_json: bool,
) -> None:
    """Write a notebook that trains EXPERIMENT on Colab or Kaggle and packs the adapter.

    EXPERIMENT is a configuration, or the id of one in configs/training or of a trained adapter.
    Batches are chosen to fit a T4 and a P100 while a step stays what it is. A split's test file is
    not given away.
    """
    from loragraft.training.notebook.find import find_config
    from loragraft.training.notebook.write import PLATFORMS, NotebookRequest, write_notebook

    path, config = find_config(experiment, adapters, CONFIGS, changes, experiment_id)
    click.echo(f"Configuration: {path}", err=True)
    chosen = tuple(name for name in PLATFORMS if name in platforms or not platforms)
    written = write_notebook(
        NotebookRequest(config, folder, chosen, base, install, data, replace)
    )  # fmt: skip
    _tell(written, config.optimiser.batch * config.optimiser.accumulation, as_json=as_json)


def _tell(written: WrittenNotebook, effective: int, *, as_json: bool) -> None:
    from loragraft.artifact.space import format_bytes
    from loragraft.cli.output import print_json, print_table, print_warnings

    if as_json:
        print_json(written.to_json())
        return
    print_warnings(written.notes)
    rows = [[name, "yes" if size.fits else "no", str(size.batch), str(effective // size.batch),
             "yes" if size.gradient_checkpointing else "no", format_bytes(size.bytes or 0)]
            for name, size in written.sizes.items()]  # fmt: skip
    if rows:
        print_table("Batches", ["GPU", "fits", "batch", "accumulation", "gradient checkpointing",
                                "memory"], rows)  # fmt: skip
    packed = format_bytes(written.data_bytes)
    where = f"beside it, {written.archive}" if written.archive else "inside"
    click.echo(f"Data: {where} ({packed})")
    click.echo(f"{'Written' if written.changed else 'Unchanged'}: {written.path}")
