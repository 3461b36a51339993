"""The packages that statistics rest on."""

from __future__ import annotations

import importlib.util

from loragraft.errors import MissingExtraError

PURPOSE = "The statistics of an experiment"


def require_statistics() -> None:
    """Raise unless they are installed; none is imported.

    Raises:
        MissingExtraError: Naming the one that is not.
    """
    for package in ("scipy", "statsmodels"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "report", PURPOSE)
