"""A training run's configuration with what the command line changes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loragraft.settings import load_settings
from loragraft.training.config import TrainConfig


def configure(
    path: Path, changes: Sequence[str] = (), experiment_id: str | None = None
) -> TrainConfig:
    """Read a configuration, and change what the command line says.

    Args:
        path: The file.
        changes: ``key.path=VALUE`` each.
        experiment_id: Another name for the run.

    Raises:
        InputError: As :func:`loragraft.settings.load_settings`.
    """
    named = () if experiment_id is None else (f"experiment_id={_quoted(experiment_id)}",)
    return load_settings(path, TrainConfig, (*changes, *named))


def _quoted(text: str) -> str:
    """Spell a text so that YAML reads it as one."""
    return "'" + text.replace("'", "''") + "'"
