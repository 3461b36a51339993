"""Search by words (BM25), written as a part of an index and read from memory-mapped files.

bm25s computes the scores when the part is written: for every word a column of rows and what the
word is worth in each. A question only adds the columns of its words, which needs nothing but numpy.
"""

from __future__ import annotations

import importlib
import json
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loragraft.checkpoint.files import read_small
from loragraft.errors import InputError, MissingExtraError
from loragraft.rag.chunking.chunk import embedded_text
from loragraft.rag.index.dense import Floats, Rows
from loragraft.rag.records import Chunk
from loragraft.rag.search.words import VERSION, forms, pieces, words

LEXICAL = "lexical"
"""Name of the part in an index."""
K1, B = 1.5, 0.75
"""Of BM25: how soon more of one word says nothing more, and how much long chunks are held back."""
MOST_WORDS = 2000
"""Different words of a question that are looked up, the first ones: nobody asks with more."""
_ABOUT, _TERMS = "lexical.json", "terms.bin"
_ARRAYS = {"offsets": np.int64, "columns": np.int32, "starts": np.int64, "rows": np.int32,
           "scores": np.float32}  # fmt: skip
_REMEMBERED = 32
"""Characters of a piece whose words are remembered while a part is written."""


def write_lexical(folder: Path, chunks: Iterator[Chunk]) -> None:
    """Write the part of an index that finds chunks by their words.

    Headings count as the text does. The files: the words, sorted; where each begins; the column
    of each; where each column begins; and per column rows, rising, and scores.

    Args:
        folder: An empty one.
        chunks: By row.

    Raises:
        MissingExtraError: If bm25s is not installed.
    """
    numbers = _Numbers()
    rows = [numbers.row(embedded_text(chunk)) for chunk in chunks]
    found = numbers.vocabulary.items()
    terms = sorted((term.encode("utf-8", "surrogatepass"), column) for term, column in found)
    lengths = np.fromiter((len(term) for term, _column in terms), np.int64, len(terms))
    starts, indices, scores = _scored(rows, len(terms))
    (folder / _TERMS).write_bytes(b"".join(term for term, _column in terms))
    arrays: dict[str, NDArray[Any]] = {
        "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "columns": np.fromiter((column for _term, column in terms), np.int32, len(terms)),
        "starts": starts, "rows": indices, "scores": scores,
    }  # fmt: skip
    for name, kind in _ARRAYS.items():
        np.save(folder / f"{name}.npy", arrays[name].astype(kind, copy=False))
    about = {"rows": len(rows), "terms": len(terms), "words": VERSION, "k1": K1, "b": B}
    (folder / _ABOUT).write_text(json.dumps(about) + "\n")


class _Numbers(dict[str, tuple[int, ...]]):
    """The words of each piece as numbers; new words get the next ones."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary: dict[str, int] = {}

    def __missing__(self, piece: str) -> tuple[int, ...]:
        words = self.vocabulary
        numbers = tuple(words.setdefault(word, len(words)) for word in forms(piece))
        if len(piece) <= _REMEMBERED:
            self[piece] = numbers
        return numbers

    def row(self, text: str) -> array[int]:
        """Return the words of a text as numbers."""
        return array("i", chain.from_iterable(map(self.__getitem__, pieces(text))))


def _scored(
    rows: list[array[int]], terms: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:
    """Return the columns of BM25 scores: where each begins, its rows and its scores."""
    if not terms:
        return np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32)
    try:
        bm25s = importlib.import_module("bm25s")
    except ImportError:
        raise MissingExtraError("bm25s", "rag", "Search by words") from None
    scorer = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    numbered = {number: number for number in range(terms)}
    scorer.index((rows, numbered), create_empty_token=False, show_progress=False)
    made = scorer.scores
    return made["indptr"], made["indices"], made["data"]


class LexicalSearch:
    """The part of an index that finds chunks by their words."""

    def __init__(self, folder: Path, count: int) -> None:
        """Open the part.

        Args:
            folder: Where it lies.
            count: Chunks of the index.

        Raises:
            InputError: If it is damaged, of another index, or of another loragraft.
        """
        self._folder, self._count = folder, count
        self._check_about()
        try:
            self._terms = _Terms(folder / _TERMS, self._array("offsets"))
            self._columns, self._starts = self._array("columns"), self._array("starts")
            self._rows, self._scores = self._array("rows"), self._array("scores")
        except (OSError, ValueError) as error:
            raise self._damaged(str(error)) from None
        self._check_lengths()

    def _array(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = np.load(
            self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False
        )
        if values.dtype != _ARRAYS[name] or values.ndim != 1:
            raise ValueError(f"{name}.npy holds {values.dtype} of shape {values.shape}")
        return values

    def _damaged(self, problem: str) -> InputError:
        return InputError(
            f"Search by words in {self._folder} is damaged: {problem}. Build the index again with "
            "loragraft rag index --replace."
        )

    def _check_about(self) -> None:
        try:
            about = json.loads(read_small(self._folder / _ABOUT))
            found, version = about["rows"], about["words"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._damaged(f"{_ABOUT} cannot be read ({error!r})") from None
        if version != VERSION:
            raise InputError(
                f"{self._folder} was written by a loragraft that tells words apart in another "
                "way. Build the index again with loragraft rag index --replace."
            )
        if found != self._count:
            raise self._damaged(f"it has {found} chunks, the index {self._count}")

    def _check_lengths(self) -> None:
        terms = len(self._terms)
        fits = len(self._columns) == terms and len(self._starts) == terms + 1
        if not fits or not len(self._rows) == len(self._scores) == self._starts[-1]:
            raise self._damaged("its files do not go together")

    def scores(self, question: str) -> Floats:
        """Return every chunk's score for a question; 0 where it has none of its words.

        A word that the question has twice counts twice.
        """
        found = np.zeros(self._count, np.float32)
        for column, times in self._asked(question):
            try:
                first, last = int(self._starts[column]), int(self._starts[column + 1])
                found[self._rows[first:last]] += self._scores[first:last] * np.float32(times)
            except (IndexError, ValueError) as error:
                raise self._damaged(str(error)) from None
        return found

    def _asked(self, question: str) -> Iterator[tuple[int, int]]:
        """Yield the columns of a question's words that the index knows, and how often each is."""
        for word, times in list(Counter(words(question)).items())[:MOST_WORDS]:
            place = self._terms.find(word)
            if place is not None:
                yield int(self._columns[place]), times

    def search(self, question: str, k: int, rows: Rows | None = None) -> tuple[Floats, Rows]:
        """Find the chunks with the best scores; none that has no word of the question.

        Args:
            question: Any text.
            k: How many at most.
            rows: Only among these, where given.

        Returns:
            Scores, falling, and rows: at most k of each, fewer where no more has any word.
        """
        return best(self.scores(question), k, rows)


def best(scores: Floats, k: int, rows: Rows | None = None) -> tuple[Floats, Rows]:
    """Return the highest scores above 0, falling, and their rows; of equal ones the lower row."""
    found = np.flatnonzero(scores) if rows is None else rows[scores[rows] > 0]
    if len(found) > k:
        border = np.partition(scores[found], -k)[-k]
        found = found[scores[found] >= border]
    found = found[np.lexsort((found, -scores[found]))][:k]
    return scores[found], found.astype(np.int64, copy=False)


class _Terms:
    """Sorted words in one memory-mapped file."""

    def __init__(self, path: Path, offsets: NDArray[np.int64]) -> None:
        self._offsets = offsets
        size = path.stat().st_size
        if not len(offsets) or offsets[-1] != size:
            raise ValueError(f"{path.name} has {size} bytes")
        self._bytes = np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, place: int) -> bytes:
        return self._bytes[self._offsets[place] : self._offsets[place + 1]].tobytes()

    def find(self, word: str) -> int | None:
        """Return where a word stands, or None."""
        wanted = word.encode("utf-8", "surrogatepass")
        place = bisect_left(self, wanted)
        return place if place < len(self) and self[place] == wanted else None
