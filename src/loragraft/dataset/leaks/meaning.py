"""Questions that mean nearly the same, in whatever words: exact cosines, block by block."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from loragraft.artifact.progress import Progress
from loragraft.dataset.leaks.book import Book
from loragraft.dataset.leaks.columns import Columns
from loragraft.dataset.leaks.same import first_by_key
from loragraft.dataset.leaks.wording import judge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loragraft.embedding.protocol import Embedder

_AT_ONCE = 1024
"""Questions that are embedded, and compared, at a time."""
LONGEST = 20_000
"""Characters of a question that are embedded: more than any model here reads."""
_CLOSEST = 8
"""Questions of another split that are looked at for one question: where the closest ask for
something else (a series of questions about one thing after the other), a farther one may not."""


def find_meaning(
    columns: Columns, book: Book, near: float, embedder: Embedder, progress: Progress
) -> None:
    """Find questions whose vectors have a cosine of at least ``near``.

    What is the same in words was found before, and is no second finding here. Vectors lie in
    temporary files.

    Raises:
        UnavailableError: If the embedder answers with what is no vector.
    """
    with tempfile.TemporaryDirectory(prefix="loragraft-leaks-") as folder:
        vectors = [
            _Vectors.made(columns, split, embedder, Path(folder, f"{split}.f32"), progress)
            for split in range(len(columns.splits))
        ]
        for earlier, later in columns.pairs():
            progress.begin(
                f"Comparing meaning, {columns.splits[later]} with {columns.splits[earlier]}",
                len(vectors[later].numbers),
                "questions",
            )
            for numbers, block in vectors[later].blocks(_AT_ONCE):
                found = _closest(block, vectors[earlier], near)
                for number, pairs in zip(numbers, found, strict=True):
                    if not book.is_marked(number, earlier):
                        judge(columns, book, number, earlier, pairs, "by meaning")
                progress.advance(len(numbers))
            progress.end()


def _closest(
    block: NDArray[np.float32], others: _Vectors, near: float
) -> list[list[tuple[float, int]]]:
    """Return for each row the closest vectors at or above ``near``, with their records."""
    import numpy as np

    from loragraft.dataset.near.vectors import score_of

    found: list[list[tuple[float, int]]] = [[] for _ in range(len(block))]
    for numbers, theirs in others.blocks(4 * _AT_ONCE):
        products = block @ theirs.T
        for row in np.flatnonzero((products >= near - 1e-4).any(axis=1)).tolist():
            columns = np.flatnonzero(products[row] >= near - 1e-4)
            if len(columns) > _CLOSEST:
                best = np.argsort(-products[row][columns], kind="stable")[: 2 * _CLOSEST]
                columns = columns[best]
            scored = [(score_of(block[row], theirs[at]), numbers[at]) for at in columns.tolist()]
            more = [pair for pair in scored if pair[0] >= near]
            found[row] = others.ordered(found[row] + more)[:_CLOSEST]
    return found


class _Vectors:
    """The vectors of a split's questions, one for each text."""

    def __init__(self, columns: Columns, numbers: list[int], path: Path, width: int) -> None:
        """Point at a file of float32."""
        self._columns, self.numbers = columns, numbers
        self._path, self._width = path, width

    @classmethod
    def made(
        cls, columns: Columns, split: int, embedder: Embedder, path: Path, progress: Progress
    ) -> _Vectors:
        """Embed a split's questions; of equal ones the first."""
        from loragraft.dataset.leaks.sides import question
        from loragraft.dataset.near.vectors import check_vectors

        wanted = set(first_by_key(columns, columns.of(split), columns.whole).values())
        numbers: list[int] = []
        waiting: list[str] = []
        width = 1
        progress.begin(f"Embedding {columns.splits[split]}", len(wanted), "questions")
        with path.open("wb") as file:

            def embed() -> int:
                rows = check_vectors(embedder.embed(waiting), len(waiting), embedder.name)
                file.write(rows.tobytes())
                progress.advance(len(waiting))
                waiting.clear()
                return int(rows.shape[1])

            for number, record, _ in columns.records(split):
                text = question(record, columns.shared)
                if number in wanted and text.strip():
                    numbers.append(number)
                    waiting.append(text[:LONGEST])
                    width = embed() if len(waiting) == _AT_ONCE else width
            width = embed() if waiting else width
        progress.end()
        return cls(columns, numbers, path, width)

    def blocks(self, size: int) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Read so many vectors at a time, with their records."""
        import numpy as np

        with self._path.open("rb", buffering=0) as file:
            for first in range(0, len(self.numbers), size):
                numbers = self.numbers[first : first + size]
                values = np.fromfile(file, "<f4", len(numbers) * self._width)
                yield numbers, values.reshape(len(numbers), self._width)

    def ordered(self, pairs: list[tuple[float, int]]) -> list[tuple[float, int]]:
        """Return the closest first; of equally close ones by their ids."""
        return sorted(pairs, key=lambda pair: (-pair[0], self._columns.ids[pair[1]]))
