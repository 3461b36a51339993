"""Paths on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class NamedPath(click.Path):
    """A path that says something: an empty one, of a variable that is unset, is no folder."""

    def __init__(self) -> None:
        """Give a :class:`pathlib.Path`."""
        super().__init__(path_type=Path)

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - click's own
        """Refuse what is empty; else it would mean the folder that one is in."""
        if value == "":
            self.fail("The path is empty. Is a variable unset?", param, ctx)
        return super().convert(value, param, ctx)


PATH = NamedPath()
