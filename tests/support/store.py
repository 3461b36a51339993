"""A place for what duplicate finders remember, and vectors made from a text's words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loragraft.dataset.curate.state import State
from loragraft.dataset.near.duplicate import Duplicate, Finder


class WordVectors:
    """Embeds by counting words: a text's vector can be worked out by hand."""

    name = "words"
    dimensions = 64
    max_tokens = 1000

    def __init__(self, identity: str = "words") -> None:
        """Take what makes it another embedder."""
        self.identity: Mapping[str, str] = {"kind": identity}

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count words."""
        return [len(text.split()) for text in texts]

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return nothing: nobody asks here."""
        return []

    def embed(
        self,
        texts: Sequence[str],
        *,
        query: bool = False,
        on_done: Callable[[int], object] | None = None,
    ) -> NDArray[np.float32]:
        """Return how often each of 64 kinds of words stands in a text, as unit vectors."""
        counts = np.zeros((len(texts), self.dimensions))
        for number, text in enumerate(texts):
            for word in text.lower().split():
                counts[number, hashlib.sha256(word.encode()).digest()[0] % self.dimensions] += 1
        return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), np.float32)

    def close(self) -> None:
        """Hold nothing."""


def open_store(folder: Path) -> State:
    """Open what a run remembers."""
    return State(folder, "test")


def check_in_batches(
    finder: Finder, texts: Sequence[str], sizes: Sequence[int], *, first: int = 0
) -> list[Duplicate | None]:
    """Return what each text is a duplicate of, in batches of such sizes, the last for the rest.

    Ids are the texts' numbers, from ``first``.
    """
    found: list[Duplicate | None] = []
    sizes = list(sizes)
    while len(found) < len(texts):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        place = len(found)
        part = texts[place : place + size]
        finder.begin([str(first + place + number) for number in range(len(part))], part)
        for number in range(len(part)):
            found.append(finder.find(number))
            if found[-1] is None:
                finder.keep(number)
        finder.end()
    return found
