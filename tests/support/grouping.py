"""Which tests of pytest-xdist's belong to one worker: those that share what their module builds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

SHARED = ("class", "module", "package")


def group_by_module(items: Sequence[pytest.Item]) -> None:
    """Group the tests of a module that ask for a fixture of its own.

    Else each worker that gets one of them builds the fixture again. Tests that ask for none are
    left to whoever is free; so are groups that a test names itself.
    """
    for item in items:
        named = item.get_closest_marker("xdist_group") is not None
        if isinstance(item, pytest.Function) and not named and shares(item):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


def shares(item: pytest.Function) -> bool:
    """Whether a test asks for something that is built once for its module."""
    found = item._fixtureinfo.name2fixturedefs.values()
    return any(definitions[-1].scope in SHARED for definitions in found)
