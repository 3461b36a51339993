"""``loragraft train``: plan, run and compare fine-tunings."""

from __future__ import annotations

from collections.abc import Mapping

import click

from loragraft.cli.lazy import lazy_group

COMMANDS: Mapping[str, tuple[str, str]] = {
    "grid": ("loragraft.cli.train_grid:grid", "Run a grid of settings, and tell the best."),
    "notebook": ("loragraft.cli.train_notebook:notebook", "Write a notebook for Colab or Kaggle."),
    "plan": ("loragraft.cli.train_plan:plan", "Estimate the memory and time of a run."),
    "run": ("loragraft.cli.train_run:run", "Train an adapter, check it and publish it."),
}
"""Command to where it is and what ``loragraft train --help`` says of it."""


@click.group(cls=lazy_group(COMMANDS))
def train() -> None:
    """Train LoRA adapters that verify and export."""
