"""Which texts of one collection say what a text of another says."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loragraft.dataset.near.normalise import normalise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from loragraft.embedding.protocol import Embedder

OnDone = Callable[[int], object]

_AT_ONCE = 2048
"""Texts that are embedded at a time."""

_MOST_EACH = 16
"""Pairs that are told of one text, where the same is said a thousand times."""


class Pair(NamedTuple):
    """A text of each collection, and how alike they are."""

    i: int
    j: int
    score: float


def cross_duplicates(
    a: Sequence[str],
    b: Sequence[str],
    *,
    threshold: float,
    embedder: Embedder | None = None,
    most_each: int = _MOST_EACH,
    on_done: OnDone | None = None,
) -> list[Pair]:
    """Return which texts of two collections are alike, by ``i``, the most alike first.

    Without an embedder texts are compared by their characters, as :class:`MinHashKeys` does: the
    score is a Jaccard similarity, and of pairs right at the threshold 1 in 200 is overlooked. With
    one they are compared by their meaning, every pair exactly: the score is a cosine. Texts of
    nothing are like none.

    Args:
        a: Texts of the one.
        b: Texts of the other. Their vectors lie in a temporary file, not in memory.
        threshold: The lowest score that counts.
        embedder: Makes vectors of length 1.
        most_each: Pairs that are told of one text of ``a``: the best, of equals those with the
            lowest ``j``.
        on_done: Hears how many texts were just dealt with, of both collections together.

    Raises:
        InputError: If the threshold is none.
    """
    heard = on_done or (lambda _: None)
    spelled: Callable[[str], str] = normalise if embedder is None else str.strip
    first, second = _Distinct(a, spelled), _Distinct(b, spelled)
    heard(first.left_out + second.left_out)
    if embedder is None:
        found = _by_characters(first.texts, second.texts, threshold, heard)
    else:
        found = _by_meaning(first.texts, second.texts, threshold, embedder, heard)
    return _spread(found, first, second, most_each)


class _Distinct:
    """The different texts of a collection, and where each stands."""

    def __init__(self, texts: Sequence[str], spelled: Callable[[str], str]) -> None:
        places: dict[str, list[int]] = {}
        for number, text in enumerate(texts):
            places.setdefault(spelled(text), []).append(number)
        places.pop("", None)
        self.texts, self.places = list(places), list(places.values())
        self.left_out = len(texts) - len(self.texts)


def _spread(
    found: Iterable[tuple[int, int, float]], first: _Distinct, second: _Distinct, most: int
) -> list[Pair]:
    """Return pairs of different texts as pairs of all texts, the best of each ``i``."""
    best: dict[int, list[tuple[float, int]]] = {}
    for row, column, score in found:
        known = best.setdefault(row, [])
        known += ((-score, j) for j in second.places[column][:most])
        if len(known) > 4 * most:
            known[:] = heapq.nsmallest(most, known)
    return sorted(
        (
            Pair(i, j, -score)
            for row, known in best.items()
            for score, j in heapq.nsmallest(most, known)
            for i in first.places[row]
        ),
        key=lambda pair: (pair.i, -pair.score, pair.j),
    )


def _by_characters(
    a: Sequence[str], b: Sequence[str], threshold: float, on_done: OnDone
) -> Iterator[tuple[int, int, float]]:
    from loragraft.dataset.near.bands import bands_for
    from loragraft.dataset.near.proposals import alike

    return alike(a, b, bands_for(threshold), threshold, on_done)


def _by_meaning(
    a: Sequence[str], b: Sequence[str], threshold: float, embedder: Embedder, on_done: OnDone
) -> Iterator[tuple[int, int, float]]:
    from loragraft.dataset.near.vectors import blocks, check_threshold, matches

    check_threshold(threshold)
    with tempfile.TemporaryDirectory(prefix="loragraft-") as folder:
        path, width = Path(folder, "vectors.f32"), None
        with path.open("wb") as file:
            for _, vectors in _embedded(b, embedder, on_done, width):
                file.write(vectors.tobytes())
                width = vectors.shape[1]
        for number, vectors in _embedded(a, embedder, on_done, width):
            for row, block in blocks(path, len(b), vectors.shape[1]):
                for match in matches(vectors, block, threshold):
                    yield number + match.a, row + match.b, match.score


def _embedded(
    texts: Sequence[str], embedder: Embedder, on_done: OnDone, width: int | None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield vectors with the number of the first's text."""
    from loragraft.dataset.near.vectors import check_vectors

    for first in range(0, len(texts), _AT_ONCE):
        part = list(texts[first : first + _AT_ONCE])
        vectors = check_vectors(embedder.embed(part), len(part), embedder.name, width=width)
        width = vectors.shape[1]
        yield first, vectors
        on_done(len(part))
