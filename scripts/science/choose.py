"""Choices that follow from a seed and a name alone: the same on every Python and platform."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_SEPARATOR = "\x1f"
"""Between the parts of a name; no part holds it, so ("a", "bc") is not ("ab", "c")."""


@dataclass(frozen=True)
class Choice:
    """A place where something is chosen; its name is the path that led there.

    No generator is carried along: what is chosen at one place never depends on how much was chosen
    before, so a fact that is added to one paper leaves all others as they were.
    """

    path: tuple[str, ...]

    def at(self, *names: object) -> Choice:
        """Return a place below this one."""
        return Choice((*self.path, *map(str, names)))

    def number(self) -> int:
        """Return 64 bits."""
        digest = hashlib.sha256(_SEPARATOR.join(self.path).encode("utf-8")).digest()
        return int.from_bytes(digest[:8], "big")

    def below(self, stop: int) -> int:
        """Return a number from 0 to ``stop`` - 1."""
        return self.number() % stop

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return all items in an order of their own."""
        order = sorted(range(len(items)), key=lambda place: self.at(place).number())
        return [items[place] for place in order]
