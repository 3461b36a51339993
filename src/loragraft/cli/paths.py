"""Paths on the command line."""

from __future__ import annotations

import errno
import os
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
        """Refuse what is empty, which would mean the folder that one is in, and what is too long.

        Even a question about a path that is too long fails, wherever it is asked first.
        """
        if value == "":
            self.fail("The path is empty. Is a variable unset?", param, ctx)
        try:
            os.lstat(value)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                self.fail(f"The name {str(value)[:40]!r}... is too long.", param, ctx)
        return super().convert(value, param, ctx)


PATH = NamedPath()
