"""Numbers of passages: given when one is first shown, kept as long as a conversation lasts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loragraft.rag.records import Passage


def label(number: int) -> str:
    """Return what a passage is called in prompts and answers.

    With a letter: documents have bracketed numbers of their own, and no "[P3]".
    """
    return f"P{number}"


@dataclass(frozen=True)
class Shown:
    """A passage under its number."""

    number: int
    passage: Passage

    @property
    def label(self) -> str:
        """What it is called."""
        return label(self.number)


class Numbers:
    """Which number belongs to which chunk; a number is never given twice."""

    def __init__(self) -> None:
        """Begin with 1."""
        self._by_chunk: dict[str, int] = {}
        self._by_number: dict[int, Passage] = {}

    def __len__(self) -> int:
        """Return how many passages have a number."""
        return len(self._by_chunk)

    def preview(self, passages: Iterable[Passage]) -> list[Shown]:
        """Return passages under the numbers that they have, or would be given in this order."""
        fresh = len(self._by_chunk)
        numbered: list[Shown] = []
        for passage in passages:
            number = self._by_chunk.get(passage.chunk.chunk_id)
            if number is None:
                fresh += 1
                number = fresh
            numbered.append(Shown(number, passage))
        return numbered

    def give(self, shown: Sequence[Shown]) -> None:
        """Keep the numbers of passages that were shown, as :meth:`preview` gave them."""
        for one in shown:
            self._by_chunk.setdefault(one.passage.chunk.chunk_id, one.number)
            self._by_number[one.number] = one.passage

    def find(self, number: int) -> Passage | None:
        """Return the passage of a number, as it was last shown."""
        return self._by_number.get(number)

    @property
    def known(self) -> frozenset[int]:
        """All numbers that were given."""
        return frozenset(self._by_number)
