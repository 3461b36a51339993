"""What comes with loragraft beside its code: configurations and the example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from loragraft.errors import UnavailableError

PACKAGE = Path(__file__).parent
CHECKOUT = PACKAGE.parents[1]


def shipped_folder(name: Literal["configs", "examples"]) -> Path:
    """Return a folder that comes with loragraft: inside a wheel, or of the checkout it runs from.

    Raises:
        UnavailableError: If the installation lacks it.
    """
    return _shipped(name, Path.is_dir, f"{name}/")


def shipped_file(name: str) -> Path:
    """Return a file that comes with loragraft, from where :func:`shipped_folder` looks.

    Raises:
        UnavailableError: If the installation lacks it.
    """
    return _shipped(name, Path.is_file, name)


def _shipped(name: str, is_there: Callable[[Path], bool], shown: str) -> Path:
    for path in (PACKAGE / "shipped" / name, CHECKOUT / name):
        if is_there(path):
            return path
    raise UnavailableError(
        f"This installation of loragraft lacks its {shown}. Install it again from its wheel, or "
        "run it from a checkout."
    )
