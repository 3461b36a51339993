"""What comes with loragraft beside its code: configurations and the example."""

from __future__ import annotations

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
    for folder in (PACKAGE / "shipped" / name, CHECKOUT / name):
        if folder.is_dir():
            return folder
    raise UnavailableError(
        f"This installation of loragraft lacks its {name}/. Install it again from its wheel, or "
        "run it from a checkout."
    )


def shipped_file(name: str) -> Path:
    """Return a file that comes with loragraft, from where :func:`shipped_folder` looks.

    Raises:
        UnavailableError: If the installation lacks it.
    """
    for path in (PACKAGE / "shipped" / name, CHECKOUT / name):
        if path.is_file():
            return path
    raise UnavailableError(
        f"This installation of loragraft lacks its {name}. Install it again from its wheel, or "
        "run it from a checkout."
    )
