"""Embedders that rules ask for, each opened once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from loragraft.artifact.closing import Closing
from loragraft.embedding.spec import EmbedderSpec

if TYPE_CHECKING:
    from loragraft.embedding.protocol import Embedder


class Embedders(Closing):
    """Opens embedders by name; a context manager that closes them."""

    def __init__(self, on_note: Callable[[str], object]) -> None:
        """Begin without any; ``on_note`` hears what is read or downloaded."""
        self._note = on_note
        self._open: dict[str, Embedder] = {}

    def __call__(self, name: str) -> Embedder:
        """Return the embedder of a name.

        Raises:
            InputError: If the name means none.
            UnavailableError: If it is not here and cannot be had.
        """
        from loragraft.embedding.opening import open_embedder

        if name not in self._open:
            self._open[name] = open_embedder(EmbedderSpec(name), self._note)
        return self._open[name]

    def close(self) -> None:
        """Close them; twice does no harm."""
        for embedder in self._open.values():
            embedder.close()
        self._open.clear()
