"""From what a person names, a file or an experiment, to a configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from loragraft.artifact.names import check_name
from loragraft.errors import InputError
from loragraft.training.config import TrainConfig
from loragraft.training.overrides import configure

CONFIG_NAME = "training_config.yaml"
"""In the folder of a trained adapter."""
_SUFFIXES = (".yaml", ".yml")


def find_config(
    name: str,
    adapters: Path,
    configs: Path,
    changes: Sequence[str] = (),
    experiment_id: str | None = None,
) -> tuple[Path, TrainConfig]:
    """Return the configuration of an experiment, and the file it was read from.

    Args:
        name: A file, or an experiment's id.
        adapters: Folder of trained adapters: what was run comes before what is planned.
        configs: Folder of configurations.
        changes: ``key.path=VALUE`` each.
        experiment_id: Another name for the run.

    Raises:
        InputError: If there is none, or there are several.
    """
    path = _find(name, adapters, configs)
    return path, configure(path, changes, experiment_id)


def _find(name: str, adapters: Path, configs: Path) -> Path:
    if name.endswith(_SUFFIXES) or os.path.isfile(name):
        return Path(name)
    run = adapters / check_name(name) / CONFIG_NAME
    if run.is_file():
        return run
    found = [path for path in _files(configs) if _id(path) == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"{' and '.join(map(str, found))} are both called {name!r}. Give one of the files."
        )
    raise InputError(
        f"There is no experiment {name!r}: neither {run} nor a file in {configs} with this "
        "experiment_id. Give the path of its configuration."
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix in _SUFFIXES)


def _id(path: Path) -> str | None:
    """Return the experiment of a file; None of one that is no configuration of a run."""
    try:
        return configure(path).experiment_id
    except InputError:
        return None
